"""Configuration files in protocol buffers' text format.

May import `serving.protocol`.
"""

__all__ = ["monitoring_config", "text_format"]

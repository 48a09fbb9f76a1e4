"""The REST interface.

May import `serving.inference`, `serving.models`, `serving.protocol` and `serving.rpc`.
"""

__all__ = ["bodies", "server"]

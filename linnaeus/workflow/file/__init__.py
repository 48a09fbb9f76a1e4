"""The workflow file: its settings, its mistakes by line, and a new one.

May import `manifests` and what lies below it, and `serving.addresses`.
"""

__all__ = ["config", "first_look", "loading", "template"]

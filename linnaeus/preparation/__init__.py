"""Making a backbone ready: its network for each engine, converted and held against the first.

May import `engines`, `models`, `planning` and `manifests`, and what lies below.
"""

from linnaeus.preparation.preparing import find, network_to_train, prepare, publish_tuned

__all__ = ["find", "network_to_train", "prepare", "publish_tuned"]

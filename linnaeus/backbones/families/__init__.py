"""Families of backbones, a module each: where their weights come from, and their networks.

May import `backbones`, and what lies below it.
"""

__all__ = [
    "efficientnet_lite",
    "fine_tuned",
    "keras_applications",
    "keras_catalogue",
    "pixels",
    "tensorflow_hub",
]

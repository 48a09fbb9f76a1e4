"""Labelled embeddings: which images are used, their labels, and their splits.

May import `training.heads` for its arrays, and what lies below `training`.
"""

__all__ = [
    "dataset",
    "embedding",
    "examples",
    "held_out",
    "near_duplicates",
    "refusals",
    "truth",
    "views",
]

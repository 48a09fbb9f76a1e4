"""Heads, and what fits them to embeddings: linear, kernel and layers, and the sweep over these.

May import `training.data` and `training.evaluation`, and what lies below `training`. Names its
modules alone, since some load TensorFlow.
"""

__all__ = ["batches", "head", "learner", "linear", "schedules", "sweep", "weighting"]

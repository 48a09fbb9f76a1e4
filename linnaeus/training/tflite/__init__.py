"""Small models: a published model as a LiteRT file with its metadata.

May import `training.data`, `training.evaluation` and `training.exporting`, and what lies below
`training`. Names its modules alone, since some load TensorFlow.
"""

__all__ = ["conversion", "export", "pictures"]

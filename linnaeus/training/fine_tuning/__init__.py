"""Training the last layers of a backbone together with the head.

May import `training.data` and `training.heads`, and what lies below `training`. Names its module
alone, since it loads TensorFlow.
"""

__all__ = ["tuning"]

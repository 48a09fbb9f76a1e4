"""Requests put together into batches, as TensorFlow Serving's parameters have it.

May import `serving.config`, `serving.models` and `serving.protocol`.
"""

__all__ = ["batched_model", "parameters"]

"""The messages of TensorFlow Serving, as bytes and as arrays.

May import the ground floor alone.
"""

__all__ = ["messages", "tensors", "wire"]

"""What each call computes, from its request to its response, whatever carries it.

May import `serving.models` and `serving.protocol`.
"""

__all__ = ["classify", "multi_inference", "options", "predict", "regress", "signatures"]

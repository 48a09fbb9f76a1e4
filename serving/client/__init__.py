"""The client of TensorFlow Serving, for millions of rows; imports no TensorFlow."""

from serving.client.scoring import ScoringClient

__all__ = ["ScoringClient"]

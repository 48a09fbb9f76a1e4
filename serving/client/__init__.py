"""The client of TensorFlow Serving, for millions of rows; imports no TensorFlow.

May import `serving.protocol`, and `worker` of `linnaeus` with what lies below it. Imports gRPC, as
whoever needs it asks a server.
"""

from serving.client.scoring import ScoringClient

__all__ = ["ScoringClient", "channels", "checked_rows", "skew"]

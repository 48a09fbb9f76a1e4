"""Model servers: a twin of TensorFlow Serving, and the client that asks either.

May import `linnaeus` up to `worker`. Names its modules alone, since servers load TensorFlow and
gRPC.
"""

__all__ = ["addresses", "local", "model_server", "server"]

"""The gRPC interface.

May import `serving.config`, `serving.inference`, `serving.models` and `serving.protocol`.
"""

__all__ = ["credentials", "model_service", "monitoring", "prediction_service", "server"]

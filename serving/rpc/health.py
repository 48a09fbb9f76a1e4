"""gRPC's health service, for those who ask whether this server serves."""

from typing import Any

import grpc

from serving.protocol import messages

SERVICES = ("", "tensorflow.serving.ModelService", "tensorflow.serving.PredictionService")
"""Whose health is told: the ports open when the models are loaded, so all is well at once."""

_SERVING = 1

# The package of the stubs, grpcio-health-checking, wants a newer protobuf than TensorFlow bears.
_MESSAGES = messages.declare(
    "grpc.health.v1",
    {
        "HealthCheckRequest": {"service": (1, "string")},
        # An enum travels as an int32.
        "HealthCheckResponse": {"status": (1, "int32")},
    },
)
HealthCheckRequest = _MESSAGES["HealthCheckRequest"]
HealthCheckResponse = _MESSAGES["HealthCheckResponse"]


def health_handler() -> grpc.GenericRpcHandler:
    """Answers Check; Watch is UNIMPLEMENTED, which clients take for healthy."""
    check = grpc.unary_unary_rpc_method_handler(
        _check, HealthCheckRequest.FromString, HealthCheckResponse.SerializeToString
    )
    return grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})


def _check(request: Any, context: grpc.ServicerContext) -> Any:
    if request.service not in SERVICES:
        context.abort(grpc.StatusCode.NOT_FOUND, "")
    return HealthCheckResponse(status=_SERVING)

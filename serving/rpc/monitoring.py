"""Counts the requests of PredictionService as they are answered."""

import time
from collections.abc import Callable
from typing import Any

import grpc

from serving.monitoring import Metrics

_COUNTED = {
    f"/tensorflow.serving.PredictionService/{call}": call
    for call in ("Predict", "Classify", "Regress", "MultiInference")
}


class CountingInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]
    """Tells `metrics` of each inference: its model, code and time."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """Wrap the handlers of the calls that count."""
        handler = continuation(details)
        if handler is None or details.method not in _COUNTED:
            return handler
        api = _COUNTED[details.method]

        def counted(request: Any, context: grpc.ServicerContext) -> Any:
            started = time.monotonic()
            try:
                return handler.unary_unary(request, context)
            finally:
                code = context.code() or grpc.StatusCode.OK
                seconds = time.monotonic() - started
                self._metrics.record_request(_model(request), code, api, "GRPC", seconds)
                if api != "Predict":
                    self._metrics.record_examples(_model(request), _example_count(request.input))

        return grpc.unary_unary_rpc_method_handler(
            counted, handler.request_deserializer, handler.response_serializer
        )


def _model(request: Any) -> str:
    """The model that a request names; a MultiInference names it in each of its tasks."""
    tasks = getattr(request, "tasks", None)
    if tasks is None:
        return str(request.model_spec.name)
    return str(tasks[0].model_spec.name) if tasks else ""


def _example_count(input: Any) -> int:
    kind = input.WhichOneof("kind")
    return len(getattr(input, kind).examples) if kind else 0

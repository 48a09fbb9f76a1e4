"""TensorFlow Serving's PredictionService over gRPC."""

from collections.abc import Callable
from typing import Any

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    inference_pb2,
    model_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.grpc_status import answering, invalid_argument
from serving.inference import classify, multi_inference, predict, regress
from serving.inference.options import AS_STOCK, InferenceOptions
from serving.models.catalog import Catalog, model_spec_of
from serving.models.servable import Servable

Infer = Callable[[Servable, Any, float | None, InferenceOptions], Any]
"""The `answer` of Predict, Classify or Regress: a model's response to a request."""

SIGNATURES = "signature_def"
"""The one metadata field that there is."""

# gRPC tells "no deadline" as one some hundred thousand years ahead.
_LONGEST_TIMEOUT_SECONDS = 1e9


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """Answers from the models of a catalog."""

    def __init__(self, catalog: Catalog, options: InferenceOptions = AS_STOCK) -> None:
        self._catalog = catalog
        self._options = options

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Run a signature."""
        return self._answer(predict.answer, request, context)

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Classify Examples."""
        return self._answer(classify.answer, request, context)

    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Give each Example a value."""
        return self._answer(regress.answer, request, context)

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Run several signatures over the same Examples."""
        with answering(context):
            seconds = _remaining_seconds(context)
            return answer_tasks(self._catalog, request, seconds, self._options)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Describe a version's signatures, as they were saved."""
        with answering(context):
            return model_metadata(self._catalog, request)

    def _answer(self, infer: Infer, request: Any, context: grpc.ServicerContext) -> Any:
        with answering(context):
            seconds = _remaining_seconds(context)
            return answer(infer, self._catalog, request, seconds, self._options)


def answer(
    infer: Infer,
    catalog: Catalog,
    request: Any,
    timeout_seconds: float | None = None,
    options: InferenceOptions = AS_STOCK,
) -> Any:
    """Find the version that is asked for and let it answer."""
    version, model = catalog.find(request)
    response = infer(model, request, timeout_seconds, options)
    response.model_spec.version.value = version
    return response


def answer_tasks(
    catalog: Catalog,
    request: inference_pb2.MultiInferenceRequest,
    timeout_seconds: float | None = None,
    options: InferenceOptions = AS_STOCK,
) -> inference_pb2.MultiInferenceResponse:
    """Find the version that the first task asks for and let it do all tasks.

    Without a first task, or one without a ModelSpec, the refusal is an empty ModelSpec's.
    """
    first = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
    version, model = catalog.find(predict_pb2.PredictRequest(model_spec=first))
    response = multi_inference.answer(model, request, timeout_seconds, options)
    for result in response.results:
        result.model_spec.version.value = version
    return response


def model_metadata(
    catalog: Catalog, request: get_model_metadata_pb2.GetModelMetadataRequest
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """Every SignatureDef of a version, as `get_model_metadata_impl.cc` gives them."""
    model_spec_of(request)
    _check_fields(request.metadata_field)
    version, model = catalog.find(request)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = request.model_spec.name
    response.model_spec.version.value = version
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in model.signatures.items():
        signatures.signature_def[name].CopyFrom(signature)
    response.metadata[SIGNATURES].Pack(signatures)
    return response


def _check_fields(fields: Any) -> None:
    if not fields:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in fields:
        if field != SIGNATURES:
            # TensorFlow Serving joins a format and its argument, and so keeps the `%s`.
            raise invalid_argument(f"Metadata field %s is not supported{field}")


def _remaining_seconds(context: grpc.ServicerContext) -> float | None:
    seconds = context.time_remaining()
    return None if seconds is None or seconds > _LONGEST_TIMEOUT_SECONDS else seconds

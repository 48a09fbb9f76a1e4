"""TensorFlow Serving's PredictionService over gRPC."""

from typing import Any

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    model_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.inference import classify as classify_inference
from serving.inference import multi_inference as multi_inference_inference
from serving.inference import predict as predict_inference
from serving.inference import regress as regress_inference
from serving.inference.options import AS_STOCK, InferenceOptions
from serving.models.catalog import Catalog, model_spec_of
from serving.status import answering, invalid_argument

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
        with answering(context):
            return predict(self._catalog, request, _remaining_seconds(context), self._options)

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Classify Examples."""
        with answering(context):
            return classify(self._catalog, request, _remaining_seconds(context), self._options)

    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Give each Example a value."""
        with answering(context):
            return regress(self._catalog, request, _remaining_seconds(context), self._options)

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Run several signatures over the same Examples."""
        with answering(context):
            seconds = _remaining_seconds(context)
            return multi_inference(self._catalog, request, seconds, self._options)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Describe a version's signatures, as they were saved."""
        with answering(context):
            return model_metadata(self._catalog, request)


def predict(
    catalog: Catalog,
    request: predict_pb2.PredictRequest,
    timeout_seconds: float | None = None,
    options: InferenceOptions = AS_STOCK,
) -> predict_pb2.PredictResponse:
    """Find the version that is asked for and let it answer."""
    version, model = catalog.find(request)
    response = predict_inference.answer(model, request, timeout_seconds, options)
    response.model_spec.version.value = version
    return response


def classify(
    catalog: Catalog,
    request: classification_pb2.ClassificationRequest,
    timeout_seconds: float | None = None,
    options: InferenceOptions = AS_STOCK,
) -> classification_pb2.ClassificationResponse:
    """Find the version that is asked for and let it classify."""
    version, model = catalog.find(request)
    response = classify_inference.answer(model, request, timeout_seconds, options)
    response.model_spec.version.value = version
    return response


def regress(
    catalog: Catalog,
    request: regression_pb2.RegressionRequest,
    timeout_seconds: float | None = None,
    options: InferenceOptions = AS_STOCK,
) -> regression_pb2.RegressionResponse:
    """Find the version that is asked for and let it regress."""
    version, model = catalog.find(request)
    response = regress_inference.answer(model, request, timeout_seconds, options)
    response.model_spec.version.value = version
    return response


def multi_inference(
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
    response = multi_inference_inference.answer(model, request, timeout_seconds, options)
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

"""TensorFlow Serving's PredictionService over gRPC: Predict and GetModelMetadata."""

from typing import Any

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.inference.predict import answer
from serving.models.catalog import Catalog, model_spec_of
from serving.status import answering, invalid_argument

_SIGNATURES = "signature_def"


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """Answers from the models of a catalog; the methods left out answer UNIMPLEMENTED."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Run a signature."""
        with answering(context):
            return predict(self._catalog, request)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Describe a version's signatures, as they were saved."""
        with answering(context):
            return model_metadata(self._catalog, request)


def predict(catalog: Catalog, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
    """Find the version that is asked for and let it answer."""
    version, model = catalog.find(request)
    response = answer(model, request)
    response.model_spec.version.value = version
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
    response.metadata[_SIGNATURES].Pack(signatures)
    return response


def _check_fields(fields: Any) -> None:
    if not fields:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in fields:
        if field != _SIGNATURES:
            raise invalid_argument(f"Metadata field {field} is not supported")

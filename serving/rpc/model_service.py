"""TensorFlow Serving's ModelService over gRPC: GetModelStatus."""

from typing import Any

import grpc
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from serving.models.catalog import Catalog
from serving.status import answering


class ModelService(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """Tells where versions stand; the methods left out answer UNIMPLEMENTED."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """List the states of a model's versions."""
        with answering(context):
            return model_status(self._catalog, request)


def model_status(
    catalog: Catalog, request: get_model_status_pb2.GetModelStatusRequest
) -> get_model_status_pb2.GetModelStatusResponse:
    """The states of the versions that are asked about, highest first."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for version, state in catalog.states(request).items():
        status = response.model_version_status.add(version=version, state=state.state)
        status.status.error_code = state.code.value[0]
        status.status.error_message = state.message
    return response

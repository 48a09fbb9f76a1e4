"""TensorFlow Serving's ModelService over gRPC: GetModelStatus and HandleReloadConfigRequest."""

from typing import Any

import grpc
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
)

from serving.grpc_status import StatusError, answering, invalid_argument
from serving.models.catalog import Catalog
from serving.models.model_config import models_of

# A model that a client names is a program that it has run here.
_NO_RELOAD = (
    "this server takes no models from clients: change its --model_config_file, or start"
    " serving.model_server on loopback, with client_verify in its SSLConfig, or with"
    " --allow_reload_config"
)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """Tells where versions stand, and takes other configurations."""

    def __init__(self, catalog: Catalog, allow_reload_config: bool = False) -> None:
        self._catalog = catalog
        self._allow_reload_config = allow_reload_config

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """List the states of a model's versions."""
        with answering(context):
            return model_status(self._catalog, request)

    def HandleReloadConfigRequest(  # noqa: N802
        self, request: Any, context: grpc.ServicerContext
    ) -> Any:
        """Serve other models; answers when the new ones are available."""
        with answering(context):
            if not self._allow_reload_config:
                raise StatusError(grpc.StatusCode.PERMISSION_DENIED, _NO_RELOAD)
            _reload(self._catalog, request, context)
            # Present, though all that it says is the default: clients look for it.
            return model_management_pb2.ReloadConfigResponse(status={})


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


def _reload(
    catalog: Catalog,
    request: model_management_pb2.ReloadConfigRequest,
    context: grpc.ServicerContext,
) -> None:
    """As `model_servers/model_service_impl.cc`, but nobody waits for a client that has gone."""
    if request.config.WhichOneof("config") != "model_config_list":
        raise invalid_argument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest."
            " Only ModelConfigList is currently supported"
        )
    catalog.reload(models_of(request.config) or [], lambda: not context.is_active())

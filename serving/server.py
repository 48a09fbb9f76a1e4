"""A model server inside a Python process that speaks TensorFlow Serving's protocol."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import grpc

from linnaeus.errors import ServingError
from serving.inference.options import InferenceOptions
from serving.models.catalog import Catalog, CatalogOptions
from serving.models.config_polling import ConfigPolling
from serving.models.model_config import ModelConfig, of_folders
from serving.monitoring import Metrics
from serving.rest.bodies import MAX_BODY_BYTES
from serving.rest.server import RestOptions, RestServer
from serving.rpc.monitoring import CountingInterceptor
from serving.rpc.server import GrpcOptions, grpc_server, listen

GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class ServerOptions:
    """Everything that has a default that serves, under TensorFlow Serving's flag names.

    Args:
        catalog: how models are loaded and followed.
        grpc: how gRPC is spoken.
        inference: how calls are answered, over gRPC and REST.
        rest_api_timeout_seconds: how long a REST call may take.
        rest_api_enable_cors_support: tell browsers that pages of any origin may read REST's
            answers.
        rest_api_max_body_bytes: what the body of a REST call may have.
        monitoring_path: where metrics are read over REST; empty counts nothing.
        model_config_file: says which models to serve, whenever it changes; empty for none.
        model_config_file_poll_wait_seconds: between two looks at it; 0 for none.
    """

    catalog: CatalogOptions = field(default_factory=CatalogOptions)
    grpc: GrpcOptions = field(default_factory=GrpcOptions)
    inference: InferenceOptions = field(default_factory=InferenceOptions)
    rest_api_timeout_seconds: float = 30.0
    rest_api_enable_cors_support: bool = False
    rest_api_max_body_bytes: int = MAX_BODY_BYTES
    monitoring_path: str = ""
    model_config_file: str = ""
    model_config_file_poll_wait_seconds: float = 0.0


class EmbeddedServer:
    """Serves versions of models over gRPC, and over REST if asked to.

    Args:
        models: name -> URI of the folder that holds its numbered versions, whose newest is
            served; or what to serve of each.
        port: for gRPC; 0 takes a free one, then found in `port`.
        rest_api_port: for REST; 0 takes a free one, None opens none.
        host: address to listen at; this machine alone unless told otherwise.
        poll_wait_seconds: between looks for new versions; None as `options.catalog` says.
        options: the rest.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - each has a default that serves
        self,
        models: Mapping[str, str] | Sequence[ModelConfig],
        port: int = 0,
        rest_api_port: int | None = None,
        host: str = "127.0.0.1",
        poll_wait_seconds: float | None = None,
        options: ServerOptions = ServerOptions(),
    ) -> None:
        self.host = host
        self.port = port
        self.rest_api_port = rest_api_port
        self.metrics = Metrics()
        """What was counted; nothing unless `options` names a `monitoring_path`."""
        self._models = of_folders(models) if isinstance(models, Mapping) else models
        self._options = options
        self._catalog = Catalog(self._catalog_options(poll_wait_seconds))
        self._polling = ConfigPolling(
            self._catalog, options.model_config_file, options.model_config_file_poll_wait_seconds
        )
        self._grpc: grpc.Server | None = None
        self._rest: RestServer | None = None

    def __enter__(self) -> "EmbeddedServer":
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """Where gRPC is spoken, `HOST:PORT`."""
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        """Load the models, then open the ports; ports that are taken are refused before.

        Raises:
            StatusError: the configuration is refused, or a model is given up.
            ServingError: a model cannot be loaded, or a port is taken.
            StorageError: a model's folder cannot be read.
        """
        for port in filter(None, (self.port, self.rest_api_port)):
            _check_free(self.host, port)
        try:
            self._catalog.start(self._models)
            if not self._catalog.is_stopping:
                self._open_ports()
        except BaseException:
            self.stop(grace_seconds=0)
            raise

    @property
    def is_listening(self) -> bool:
        """Whether the ports are open."""
        return self._grpc is not None

    def stop_waiting(self) -> None:
        """Make a `start` that waits for models return, without listening."""
        self._catalog.stop_waiting()

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Take no more requests, let those under way finish within the grace, unload."""
        self._polling.stop()
        stopped = self._grpc.stop(grace_seconds) if self._grpc else None
        if self._rest:
            self._rest.stop(grace_seconds)
        if stopped:
            stopped.wait()
        self._grpc = self._rest = None
        self._catalog.close()

    def wait(self) -> None:
        """Block until the server is stopped by another thread."""
        if self._grpc:
            self._grpc.wait_for_termination()

    def _catalog_options(self, poll_wait_seconds: float | None) -> CatalogOptions:
        options = self._options.catalog
        if poll_wait_seconds is not None:
            options = replace(options, file_system_poll_wait_seconds=poll_wait_seconds)
        if not self._options.monitoring_path:
            return options
        loading = replace(
            options.versions.loading,
            on_warm_up=self.metrics.record_warm_up,
            on_run=self.metrics.record_run,
            on_answer=self.metrics.note_runtime,
        )
        return replace(options, versions=replace(options.versions, loading=loading))

    def _open_ports(self) -> None:
        counting = [CountingInterceptor(self.metrics)] if self._options.monitoring_path else []
        self._grpc = grpc_server(
            self._catalog, self._options.grpc, counting, self._options.inference
        )
        self._listen(self._grpc)
        if self.rest_api_port is not None:
            self._rest = self._rest_server(self.rest_api_port)
            self.rest_api_port = self._rest.port
            self._rest.start()
        self._grpc.start()
        if self._options.model_config_file_poll_wait_seconds > 0:
            self._polling.start()

    def _listen(self, server: grpc.Server) -> None:
        options = self._options.grpc
        self.port = _listen_at(server, f"{self.host}:{self.port}", options)
        if options.grpc_socket_path:
            _listen_at(server, f"unix:{options.grpc_socket_path}", options)

    def _rest_server(self, port: int) -> RestServer:
        counts = bool(self._options.monitoring_path)
        options = RestOptions(
            timeout_seconds=self._options.rest_api_timeout_seconds,
            enable_cors_support=self._options.rest_api_enable_cors_support,
            inference=self._options.inference,
            max_body_bytes=self._options.rest_api_max_body_bytes,
            monitoring_path=self._options.monitoring_path or None,
            monitoring=(lambda: self.metrics.text().encode()) if counts else None,
            record=self.metrics.record_request if counts else None,
        )
        try:
            return RestServer(self._catalog, self.host, port, options)
        except OSError as error:
            raise _cannot_listen(f"{self.host}:{port}") from error


def _check_free(host: str, port: int) -> None:
    """Refuse a port that nobody could listen at, without listening there.

    A port that listens before the models are loaded would pass for a server that is ready.
    """
    try:
        addresses = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _cannot_listen(f"{host}:{port}") from error
    if not any(_is_free(family, address) for family, _, _, _, address in addresses):
        raise _cannot_listen(f"{host}:{port}")


def _is_free(family: int, address: Any) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        # As the servers do: a port that was left a moment ago is free.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(address)
        except OSError:
            return False
    return True


def _listen_at(server: grpc.Server, address: str, options: GrpcOptions) -> int:
    try:
        return listen(server, address, options.ssl)
    except RuntimeError as error:
        reason = _cannot_encrypt if options.ssl else _cannot_listen
        raise reason(address) from error


def _cannot_encrypt(address: str) -> ServingError:
    # gRPC does not say which of the reasons it was.
    return ServingError(
        f"cannot listen at {address} over TLS: server_key and server_cert are no pair of PEM texts,"
        " or the address is taken or not this machine's; correct the SSL configuration, or choose"
        " another port"
    )


def _cannot_listen(address: str) -> ServingError:
    return ServingError(
        f"cannot listen at {address}: another program does, or the address is not this"
        " machine's; choose another port"
    )

"""A model server inside a Python process that speaks TensorFlow Serving's protocol."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from linnaeus.errors import ServingError
from serving.models.catalog import Catalog
from serving.rest.server import RestServer
from serving.rpc.model_service import ModelService
from serving.rpc.prediction_service import PredictionService

POLL_WAIT_SECONDS = 1.0
GRACE_SECONDS = 10.0


class EmbeddedServer:
    """Serves the newest version of each model over gRPC, and over REST if asked to.

    Args:
        models: name -> URI of the folder that holds its numbered versions.
        port: for gRPC; 0 takes a free one, then found in `port`.
        rest_api_port: for REST; 0 takes a free one, None opens none.
        host: address to listen at; this machine alone unless told otherwise.
        poll_wait_seconds: between looks for new versions.
        version: serve this one whatever newer ones appear; None follows the newest.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - each has a default that serves
        self,
        models: Mapping[str, str],
        port: int = 0,
        rest_api_port: int | None = None,
        host: str = "127.0.0.1",
        poll_wait_seconds: float = POLL_WAIT_SECONDS,
        version: int | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.rest_api_port = rest_api_port
        self._catalog = Catalog(models, poll_wait_seconds, version)
        self._grpc: grpc.Server | None = None
        self._rest: RestServer | None = None

    def __enter__(self) -> EmbeddedServer:
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
            ServingError: a model cannot be loaded, or a port is taken.
            StorageError: a model's folder cannot be read.
        """
        for port in filter(None, (self.port, self.rest_api_port)):
            _check_free(self.host, port)
        try:
            self._catalog.start()
            self._open_ports()
        except BaseException:
            self.stop(grace_seconds=0)
            raise

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Take no more requests, let those under way finish within the grace, unload."""
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

    def _open_ports(self) -> None:
        self._grpc = _grpc_server(self._catalog)
        self.port = _bind(self._grpc, self.host, self.port)
        if self.rest_api_port is not None:
            self._rest = _rest_server(self._catalog, self.host, self.rest_api_port)
            self.rest_api_port = self._rest.port
            self._rest.start()
        self._grpc.start()


def _grpc_server(catalog: Catalog) -> grpc.Server:
    server = grpc.server(
        ThreadPoolExecutor(4 * (os.cpu_count() or 1), thread_name_prefix="grpc"),
        options=[
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            # Two servers on one port would each get some of the requests.
            ("grpc.so_reuseport", 0),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(catalog), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(catalog), server)
    return server


def _check_free(host: str, port: int) -> None:
    """Refuse a port that nobody could listen at, without listening there.

    A port that listens before the models are loaded would pass for a server that is ready.
    """
    try:
        addresses = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _cannot_listen(host, port) from error
    if not any(_is_free(family, address) for family, _, _, _, address in addresses):
        raise _cannot_listen(host, port)


def _is_free(family: int, address: Any) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        # As the servers do: a port that was left a moment ago is free.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(address)
        except OSError:
            return False
    return True


def _bind(server: grpc.Server, host: str, port: int) -> int:
    try:
        return int(server.add_insecure_port(f"{host}:{port}"))
    except RuntimeError as error:
        raise _cannot_listen(host, port) from error


def _rest_server(catalog: Catalog, host: str, port: int) -> RestServer:
    try:
        return RestServer(catalog, host, port)
    except OSError as error:
        raise _cannot_listen(host, port) from error


def _cannot_listen(host: str, port: int) -> ServingError:
    return ServingError(
        f"cannot listen at {host}:{port}: another program does, or the address is not this"
        " machine's; choose another port"
    )

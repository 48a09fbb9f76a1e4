"""The gRPC end of a server: its services, threads, limits and listening addresses."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.connections import most_connections
from serving.inference.options import AS_STOCK, InferenceOptions
from serving.models.catalog import Catalog
from serving.rpc.credentials import SslConfig, server_credentials
from serving.rpc.health import health_handler
from serving.rpc.model_service import ModelService
from serving.rpc.prediction_service import PredictionService

MAX_MESSAGE_BYTES = 256 * 1024 * 1024

ChannelArgument = tuple[str, int | str]


@dataclass(frozen=True)
class GrpcOptions:
    """How gRPC is spoken, under TensorFlow Serving's flag names.

    Args:
        grpc_max_threads: requests that are worked on at once; 0 takes four for each processor.
        grpc_socket_path: a Unix socket to listen at besides the port; empty for none.
        grpc_channel_arguments: for gRPC's core.
        ssl: TLS; None speaks in the clear.
        enable_grpc_healthcheck_service: answer gRPC's health checks.
        allow_reload_config: load whatever models a client names.
        grpc_max_message_bytes: of a request, also once it is decompressed; -1 for any size.
    """

    grpc_max_threads: int = 0
    grpc_socket_path: str = ""
    grpc_channel_arguments: tuple[ChannelArgument, ...] = ()
    ssl: SslConfig | None = None
    enable_grpc_healthcheck_service: bool = False
    allow_reload_config: bool = False
    grpc_max_message_bytes: int = MAX_MESSAGE_BYTES


def grpc_server(
    catalog: Catalog,
    options: GrpcOptions,
    interceptors: Sequence[grpc.ServerInterceptor] = (),
    inference: InferenceOptions = AS_STOCK,
) -> grpc.Server:
    """A server of the catalog's models that does not listen yet."""
    threads = options.grpc_max_threads or 4 * (os.cpu_count() or 1)
    server = grpc.server(
        ThreadPoolExecutor(threads, thread_name_prefix="grpc"),
        interceptors=interceptors,
        options=_core_options(options),
        # Requests beyond the threads wait, but not without bound: one that could only wait for
        # long is told RESOURCE_EXHAUSTED at once, and its client backs off.
        maximum_concurrent_rpcs=max(64, 8 * threads),
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(catalog, inference), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        ModelService(catalog, options.allow_reload_config), server
    )
    if options.enable_grpc_healthcheck_service:
        server.add_generic_rpc_handlers((health_handler(),))
    return server


def listen(server: grpc.Server, address: str, ssl: SslConfig | None) -> int:
    """Listen at `HOST:PORT` or `unix:PATH`, over TLS if `ssl` says how.

    Returns:
        The port.

    Raises:
        RuntimeError: nobody can listen there.
    """
    if ssl is None:
        return int(server.add_insecure_port(address))
    return int(server.add_secure_port(address, server_credentials(ssl)))


def channel_arguments(text: str) -> tuple[ChannelArgument, ...]:
    """`k=v,k=v` as arguments; a value that is an integer of 32 bits is passed on as one.

    Raises:
        ValueError: a part is no `k=v`.
    """
    return tuple(_channel_argument(part) for part in text.split(",") if part)


def _channel_argument(text: str) -> ChannelArgument:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ValueError(f"{text!r} is no KEY=VALUE")
    try:
        number = int(value)
    except ValueError:
        return key, value
    return (key, number) if -(2**31) <= number < 2**31 else (key, value)


def _core_options(options: GrpcOptions) -> list[ChannelArgument]:
    arguments: dict[str, int | str] = {
        "grpc.max_receive_message_length": options.grpc_max_message_bytes,
        "grpc.max_send_message_length": -1,
        # Two servers on one port would each get some of the requests.
        "grpc.so_reuseport": 0,
        # Clients that are silent must not keep others out; theirs connect anew without notice.
        "grpc.max_allowed_incoming_connections": most_connections(),
        "grpc.max_connection_idle_ms": 60_000,
        "grpc.server_handshake_timeout_ms": 10_000,
        # Those who ask whether a silent connection lives are no enemies.
        "grpc.http2.min_ping_interval_without_data_ms": 10_000,
    }
    return list((arguments | dict(options.grpc_channel_arguments)).items())

"""`python -m serving.model_server`: the embedded server under TensorFlow Serving's flag names."""

import argparse
import importlib.metadata
import ipaddress
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from linnaeus.errors import ConfigurationError, LinnaeusError, ServingError
from serving import flags

if TYPE_CHECKING:
    from serving.models.catalog import CatalogOptions
    from serving.models.loading import LoadingOptions
    from serving.models.model_config import ModelConfig
    from serving.models.servable import Servable
    from serving.rpc.server import GrpcOptions
    from serving.server import EmbeddedServer, ServerOptions

LISTENING = "Running gRPC ModelServer at "
"""What the line on standard output begins with that says where the server listens."""

ERROR = "error: "
"""What the line on standard error begins with that says why the server did not start."""

STOP_SECONDS = 15.0
"""How long an orderly end may take: more than the grace of requests under way."""

_log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM, Ctrl-C or, if asked to, the end of the parent process.

    The first signal lets requests under way finish; a second one ends the process at once.

    Returns:
        The exit status: 0, or 1 with one line on standard error if the server cannot start.
    """
    options = flags.parse(argv, __doc__)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if options.version:
        print(_versions())
        return 0
    stopping = stop_signals()
    if options.parent_pid:
        watched = (options.parent_pid, stopping)
        threading.Thread(target=_end_with, args=watched, daemon=True).start()
    try:
        _serve(options, stopping)
    except LinnaeusError as error:
        print(f"{ERROR}{error}", file=sys.stderr)
        return 1
    return 0


def _versions() -> str:
    tensorflow, serving = map(importlib.metadata.version, ("tensorflow", "linnaeus"))
    return f"TensorFlow ModelServer: linnaeus {serving}\nTensorFlow Library: {tensorflow}"


def stop_signals() -> threading.Event:
    """An event that SIGTERM and Ctrl-C set; a second one then ends the process at once."""
    stopping = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def stop(*_: object) -> None:
        stopping.set()
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)

    for number in numbers:
        signal.signal(number, stop)
    return stopping


def _serve(options: argparse.Namespace, stopping: threading.Event) -> None:
    server = _server(options)
    threading.Thread(target=_stop_in_time, args=(server, stopping), daemon=True).start()
    _refusing_to_start(server.start)
    try:
        if server.is_listening:
            _tell(server)
        stopping.wait()
    finally:
        server.stop()


def _stop_in_time(server: "EmbeddedServer", stopping: threading.Event) -> None:
    """See to it that neither a model to come nor one that loads for long holds up the end."""
    stopping.wait()
    server.stop_waiting()
    time.sleep(STOP_SECONDS)
    os._exit(1)


def _tell(server: "EmbeddedServer") -> None:
    print(f"{LISTENING}{server.address}", flush=True)
    if server.rest_api_port:
        print(f"Exporting HTTP/REST API at {server.host}:{server.rest_api_port}", flush=True)


def _server(options: argparse.Namespace) -> "EmbeddedServer":
    from serving.server import EmbeddedServer

    rest_api_port = options.rest_api_port or None
    if rest_api_port and rest_api_port == options.port:
        _log.error("--rest_api_port cannot be the same as --port: REST is not served")
        rest_api_port = None
    models = _refusing_to_start(lambda: _models(options))
    return EmbeddedServer(
        models, options.port, rest_api_port, options.host, options=_server_options(options)
    )


def _refusing_to_start(step: Callable[[], Any]) -> Any:
    from serving.grpc_status import StatusError

    try:
        return step()
    except StatusError as error:
        raise ServingError(f"Failed to start server. Error: {error.code.name}: {error}") from error


def _models(options: argparse.Namespace) -> "list[ModelConfig]":
    from tensorflow_serving.config import model_server_config_pb2

    from serving.models.model_config import PLATFORM, models_of, read_models, with_version

    if options.model_config_file:
        return read_models(options.model_config_file) or []
    if not options.model_base_path:
        raise ConfigurationError(
            "Both --model_base_path and --model_config_file are empty: name what to serve"
        )
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(
        name=options.model_name, base_path=options.model_base_path, model_platform=PLATFORM
    )
    return with_version(models_of(config) or [], options.model_version)


def _server_options(options: argparse.Namespace) -> "ServerOptions":
    from serving.config.monitoring_config import read_monitoring_path
    from serving.inference.options import InferenceOptions
    from serving.server import ServerOptions

    monitoring = options.monitoring_config_file
    return ServerOptions(
        catalog=_catalog_options(options),
        grpc=_grpc_options(options),
        inference=InferenceOptions(
            options.enable_signature_method_name_check,
            options.enable_serialization_as_tensor_content,
        ),
        rest_api_enable_cors_support=options.rest_api_enable_cors_support,
        rest_api_timeout_seconds=options.rest_api_timeout_in_ms / 1000,
        rest_api_max_body_bytes=options.rest_api_max_body_bytes,
        monitoring_path=read_monitoring_path(monitoring) if monitoring else "",
        model_config_file=options.model_config_file,
        model_config_file_poll_wait_seconds=options.model_config_file_poll_wait_seconds,
    )


def _catalog_options(options: argparse.Namespace) -> "CatalogOptions":
    from serving.models.catalog import CatalogOptions
    from serving.models.versions import VersionOptions

    return CatalogOptions(
        file_system_poll_wait_seconds=options.file_system_poll_wait_seconds,
        num_load_threads=max(options.num_load_threads, 0),
        allow_version_labels_for_unavailable_models=(
            options.allow_version_labels_for_unavailable_models
        ),
        # Who asks for one version wants it now, and to be told if it is not there.
        wait_for_models=options.model_version is None,
        versions=VersionOptions(
            loading=_loading_options(options),
            max_load_retries=options.max_num_load_retries,
            load_retry_seconds=options.load_retry_interval_micros / 1e6,
        ),
    )


def _loading_options(options: argparse.Namespace) -> "LoadingOptions":
    from serving.models.loading import LoadingOptions
    from serving.models.saved_models import SessionOptions

    both = options.tensorflow_session_parallelism
    return LoadingOptions(
        saved_model_tags=tuple(filter(None, options.saved_model_tags.split(","))),
        enable_model_warmup=options.enable_model_warmup,
        num_request_iterations_for_warmup=max(options.num_request_iterations_for_warmup, 1),
        prefer_tflite_model=options.prefer_tflite_model,
        num_tflite_pools=options.num_tflite_pools or os.cpu_count() or 1,
        session=SessionOptions(
            options.tensorflow_intra_op_parallelism or both,
            options.tensorflow_inter_op_parallelism or both,
            options.per_process_gpu_memory_fraction,
        ),
        wrap=_batching(options),
    )


def _batching(options: argparse.Namespace) -> "Callable[[Servable], Servable]":
    """What a loaded model is served through."""
    from serving.batching import parameters
    from serving.batching.batched_model import BatchedModel

    path = options.batching_parameters_file
    if path and not options.enable_batching:
        raise ConfigurationError(
            "--batching_parameters_file is set without setting --enable_batching to true"
        )
    if not options.enable_batching:
        return lambda model: model
    chosen = parameters.read(path) if path else parameters.BatchingParameters()
    return lambda model: BatchedModel(model, chosen)


def _grpc_options(options: argparse.Namespace) -> "GrpcOptions":
    from serving.rpc.credentials import read_ssl_config
    from serving.rpc.server import GrpcOptions, channel_arguments

    if options.use_alts_credentials:
        # To take the flag and speak in the clear would be worse than not to start.
        raise ConfigurationError("there is no ALTS here: use --ssl_config_file")
    try:
        arguments = channel_arguments(options.grpc_channel_arguments)
    except ValueError as error:
        raise ConfigurationError(f"--grpc_channel_arguments: {error}") from error
    ssl = read_ssl_config(options.ssl_config_file) if options.ssl_config_file else None
    known = _is_loopback(options.host) or (ssl is not None and ssl.client_verify)
    return GrpcOptions(
        grpc_max_threads=max(options.grpc_max_threads, 0),
        grpc_socket_path=options.grpc_socket_path,
        grpc_channel_arguments=arguments,
        ssl=ssl,
        enable_grpc_healthcheck_service=options.enable_grpc_healthcheck_service,
        grpc_max_message_bytes=options.grpc_max_message_bytes,
        allow_reload_config=known or options.allow_reload_config,
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _end_with(parent_pid: int, stopping: threading.Event) -> None:
    """Stop when the parent has gone, however it went: nobody else would stop this process."""
    while os.getppid() == parent_pid:
        time.sleep(0.5)
    stopping.set()


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    sys.stdout.flush()
    # Not sys.exit, which would wait for requests that outlived the grace.
    os._exit(status)

"""TensorFlow Serving's flags, by name, type and default, as `model_servers/main.cc` has them."""

import argparse
from collections.abc import Sequence

_TRUE, _FALSE = {"true", "1"}, {"false", "0"}

_WHOLE_NUMBERS = {
    "port": (8500, "gRPC; 0 takes a free one"),
    "rest_api_port": (0, "REST; 0 opens none"),
    "rest_api_timeout_in_ms": (30000, "how long a REST call may take"),
    "grpc_max_threads": (0, "requests worked on at once; 0: 4 for each processor"),
    "num_load_threads": (0, "models that load at once; 0: 1 for each processor, 4 at least"),
    "max_num_load_retries": (5, "tries after a first load that failed"),
    "load_retry_interval_micros": (60_000_000, "between two tries"),
    "num_request_iterations_for_warmup": (0, "replays of each warm-up request, if above 0"),
    "num_tflite_pools": (0, "interpreters of a TensorFlow Lite model; 0: 1 for each processor"),
    "tensorflow_session_parallelism": (0, "both of the next two"),
    "tensorflow_intra_op_parallelism": (0, "threads of an operation; 0: TensorFlow decides"),
    "tensorflow_inter_op_parallelism": (0, "operations at once; 0: TensorFlow decides"),
}
_TEXTS = {
    "grpc_socket_path": ("", "Unix socket for gRPC besides the port"),
    "grpc_channel_arguments": ("", "K=V,K=V for gRPC's core"),
    "ssl_config_file": ("", "SSLConfig: TLS, also mutual, for gRPC"),
    "monitoring_config_file": ("", "MonitoringConfig: Prometheus metrics on the REST port"),
    "model_config_file": ("", "ModelServerConfig: the models to serve"),
    "model_name": ("default", "of the one model without --model_config_file"),
    "model_base_path": ("", "its folder of numbered versions, absolute or a URI"),
    "saved_model_tags": ("serve", "of the graph to load, separated by commas"),
    "batching_parameters_file": ("", "BatchingParameters, with --enable_batching"),
}
_NUMBERS = {
    "model_config_file_poll_wait_seconds": (0.0, "between two looks at the file; 0: one look"),
    "file_system_poll_wait_seconds": (1.0, "between two looks for versions; 0: one look"),
    "per_process_gpu_memory_fraction": (0.0, "0: TensorFlow decides"),
}
_SWITCHES = {
    "enable_batching": (False, "run requests together"),
    "enable_model_warmup": (True, "replay a version's warm-up requests before it is offered"),
    "allow_version_labels_for_unavailable_models": (False, "for labels that are new"),
    "prefer_tflite_model": (False, "serve a version's model.tflite if it has one"),
    "enable_grpc_healthcheck_service": (False, "answer gRPC's health checks"),
    "enable_serialization_as_tensor_content": (False, "Predict answers in raw bytes"),
    "enable_signature_method_name_check": (False, "refuse signatures saved for another call"),
    "rest_api_enable_cors_support": (False, "let pages of any origin read REST's answers"),
    "version": (False, "tell the version and end"),
}

WITHOUT_EFFECT = (
    "enable_per_model_batching_parameters",
    "enable_profiler",
    "flush_filesystem_caches",
    "force_allow_any_version_labels_for_unavailable_models",
    "mixed_precision",
    "num_tflite_interpreters_per_pool",
    "num_unload_threads",
    "platform_config_file",
    "remove_unused_fields_from_bundle_metagraph",
    "rest_api_num_threads",
    "skip_initialize_tpu",
    "tensorflow_session_config_file",
    "thread_pool_factory_config_file",
    "xla_cpu_compilation_enabled",
    "xla_gpu_compilation_enabled",
)
"""Flags of the stock program that are taken and change nothing here."""


def parse(argv: Sequence[str] | None, description: str | None) -> argparse.Namespace:
    """The flags' values; a flag that does not exist prints the usage and ends the process."""
    return _parser(description).parse_args(argv)


def boolean(text: str) -> bool:
    """A switch's value, in any of TensorFlow's spellings.

    Raises:
        ValueError: it is none.
    """
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"{text!r} is neither true nor false")
    return word in _TRUE


def _parser(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="serving.model_server",
        description=description,
        allow_abbrev=False,
        epilog="Taken, as TensorFlow Serving has them, but without effect here: "
        + ", ".join(f"--{name}" for name in WITHOUT_EFFECT),
    )
    for kind, flags in ((int, _WHOLE_NUMBERS), (str, _TEXTS), (float, _NUMBERS)):
        for name, (default, text) in flags.items():
            parser.add_argument(f"--{name}", type=kind, default=default, help=text)
    for name, (default, text) in _SWITCHES.items():
        _add_switch(parser, name, default, text)
    # Its name in older servers.
    parser.add_argument(
        "--use_tflite_model", dest="prefer_tflite_model", type=boolean, nargs="?", const=True
    )
    _add_switch(parser, "use_alts_credentials", False, "refused: there is no ALTS here")
    for name in WITHOUT_EFFECT:
        parser.add_argument(f"--{name}", nargs="?", help=argparse.SUPPRESS)
    _add_own(parser)
    return parser


def _add_switch(parser: argparse._ActionsContainer, name: str, default: bool, text: str) -> None:
    parser.add_argument(
        f"--{name}", type=boolean, nargs="?", const=True, default=default, help=text
    )


def _add_own(parser: argparse.ArgumentParser) -> None:
    own = parser.add_argument_group("flags that TensorFlow Serving lacks")
    _add_switch(own, "allow_reload_config", False, "let any client name models to load and run")
    own.add_argument(
        "--grpc_max_message_bytes",
        type=int,
        default=1 << 28,
        help="of a request over gRPC, decompressed; -1: any size",
    )
    own.add_argument("--host", default="127.0.0.1", help="address to listen at")
    own.add_argument(
        "--rest_api_max_body_bytes",
        type=int,
        default=100 * 1024 * 1024,
        help="what the body of a REST call may have, also once it is unzipped",
    )
    own.add_argument("--model_version", type=int, help="serve it, not the newest")
    own.add_argument("--parent_pid", type=int, help="end when this is no longer the parent")

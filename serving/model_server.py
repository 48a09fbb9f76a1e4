"""`python -m serving.model_server`: the embedded server under TensorFlow Serving's flag names."""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

from linnaeus.errors import LinnaeusError

LISTENING = "Running gRPC ModelServer at "
"""What the line on standard output begins with that says where the server listens."""

ERROR = "error: "
"""What the line on standard error begins with that says why the server did not start."""

ORPHAN_SECONDS = 15.0
"""How long an orderly end may take once the parent has gone."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM, Ctrl-C or, if asked to, the end of the parent process.

    Returns:
        The exit status: 0, or 1 with one line on standard error if the server cannot start.
    """
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    if options.parent_pid:
        watched = (options.parent_pid, stopping)
        threading.Thread(target=_end_with, args=watched, daemon=True).start()
    try:
        _serve(options, stopping)
    except LinnaeusError as error:
        print(f"{ERROR}{error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="serving.model_server", description=__doc__)
    parser.add_argument("--port", type=int, default=8500, help="gRPC; 0 takes a free one")
    parser.add_argument("--rest_api_port", type=int, default=0, help="REST; 0 opens none")
    parser.add_argument("--model_name", default="default")
    parser.add_argument("--model_base_path", required=True, help="folder of numbered versions")
    parser.add_argument("--model_version", type=int, help="serve it, not the newest")
    parser.add_argument("--file_system_poll_wait_seconds", type=float, default=1.0)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at")
    parser.add_argument("--parent_pid", type=int, help="end when this is no longer the parent")
    return parser


def _serve(options: argparse.Namespace, stopping: threading.Event) -> None:
    from serving.server import EmbeddedServer

    server = EmbeddedServer(
        {options.model_name: options.model_base_path},
        options.port,
        options.rest_api_port or None,
        options.host,
        options.file_system_poll_wait_seconds,
        options.model_version,
    )
    with server:
        print(f"{LISTENING}{server.address}", flush=True)
        if server.rest_api_port:
            print(f"Exporting HTTP/REST API at {server.host}:{server.rest_api_port}", flush=True)
        stopping.wait()


def _end_with(parent_pid: int, stopping: threading.Event) -> None:
    """Stop when the parent has gone, however it went: nobody else would stop this process."""
    while os.getppid() == parent_pid:
        time.sleep(0.5)
    stopping.set()
    time.sleep(ORPHAN_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())

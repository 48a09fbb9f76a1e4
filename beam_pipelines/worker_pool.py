"""A pool that starts Python workers for a Flink TaskManager on the same machine.

    python -m beam_pipelines.worker_pool --service_port=50000

Beam's own pool listens on every network, so that anybody there may have programs started; starts
whichever `python` comes first in PATH; and reads nothing that its workers print, so that a chatty
one stands still. This one listens on one address, starts the interpreter that runs it, and passes
on what workers print. The protocol (BeamFnExternalWorkerPool) is Beam's.
"""

import argparse
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2 as messages
from apache_beam.portability.api import beam_fn_api_pb2_grpc as services

from linnaeus.process import stop

HOST = "127.0.0.1"
STOP_SECONDS = 10.0
SDK_HARNESS = """
import sys
from apache_beam.runners.worker.sdk_worker import SdkHarness

SdkHarness(
    sys.argv[1], worker_id=sys.argv[2], state_cache_size=0, data_buffer_time_limit_ms=-1
).run()
"""

Worker = subprocess.Popen[bytes]


class WorkerPool(services.BeamFnExternalWorkerPoolServicer):  # type: ignore[misc]
    """Starts a process for each worker that is asked for, and stops it."""

    def __init__(self) -> None:
        self._workers: dict[str, Worker] = {}
        self._lock = threading.Lock()

    def StartWorker(self, request: Any, _context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Start a worker that calls back at the request's control endpoint."""
        command = [sys.executable, "-c", SDK_HARNESS, request.control_endpoint.url]
        try:
            worker = subprocess.Popen([*command, request.worker_id], stdin=subprocess.DEVNULL)
        except OSError as error:
            return messages.StartWorkerResponse(error=str(error))
        logging.info("Worker %s is process %d", request.worker_id, worker.pid)
        with self._lock:
            self._workers[request.worker_id] = worker
        return messages.StartWorkerResponse()

    def StopWorker(self, request: Any, _context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Stop a worker; one that is not known is no error."""
        with self._lock:
            worker = self._workers.pop(request.worker_id, None)
        if worker:
            stop(worker, STOP_SECONDS)
        return messages.StopWorkerResponse()

    def close(self) -> None:
        """Stop all workers."""
        with self._lock:
            workers, self._workers = list(self._workers.values()), {}
        for worker in workers:
            stop(worker, STOP_SECONDS)


def start(pool: WorkerPool, address: str) -> tuple[grpc.Server, int]:
    """Serve a pool at `host:port`; returns the server and its port.

    Raises:
        RuntimeError: the address cannot be had.
    """
    server = grpc.server(ThreadPoolExecutor(4))
    services.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    port = server.add_insecure_port(address)
    server.start()
    return server, port


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m beam_pipelines.worker_pool")
    parser.add_argument("--service_port", type=int, default=50000, help="0: any free one")
    parser.add_argument("--host", default=HOST, help=f"address to listen on ({HOST})")
    known = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    over, pool = threading.Event(), WorkerPool()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    server, port = start(pool, f"{known.host}:{known.service_port}")
    logging.info("Worker pool at %s:%d", known.host, port)
    over.wait()
    server.stop(None)
    pool.close()


if __name__ == "__main__":
    main()

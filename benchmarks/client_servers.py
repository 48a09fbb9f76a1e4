"""Stand-in model servers that bear so many calls at a time, in a process of their own.

`python -m benchmarks.client_servers ROOM SECONDS` prints its address, and ends with its input.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np

from serving.protocol import tensors, wire


@contextmanager
def start_refusing(room: int, seconds: float) -> Iterator[str]:
    """Yields the address of a server that takes `seconds` for a call and refuses beyond `room`."""
    command = [sys.executable, "-m", "benchmarks.client_servers", str(room), str(seconds)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:  # closes its input in the end, at which it ends, and waits
        assert process.stdout is not None
        yield process.stdout.readline().strip()


class Refusing:
    """Predict with room for so many calls."""

    def __init__(self, room: int, seconds: float) -> None:
        self._room, self._seconds = threading.Semaphore(room), seconds

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The same answer for every row."""
        if not self._room.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls")
        try:
            time.sleep(self._seconds)
        finally:
            self._room.release()
        return _answer(request)


def _answer(request: Any) -> Any:
    (tensor,) = request.inputs.values()
    rows = tensor.tensor_shape.dim[0].size
    outputs = {
        "label": np.array([b"cat"] * rows, object),
        "confidence": np.full(rows, 0.75, "float32"),
        "top_labels": np.array([[b"cat", b"dog"]] * rows, object),
        "top_scores": np.array([[0.75, 0.25]] * rows, "float32"),
    }
    response = wire.PredictResponse()
    response.model_spec.version.value = request.model_spec.version.value
    for name, array in outputs.items():
        tensors.fill_values(response.outputs[name], array)
    return response


def _main() -> None:
    room, seconds = int(sys.argv[1]), float(sys.argv[2])
    server = grpc.server(ThreadPoolExecutor(64))
    predict = grpc.unary_unary_rpc_method_handler(
        Refusing(room, seconds),
        wire.PredictRequest.FromString,
        wire.PredictResponse.SerializeToString,
    )
    service = wire.PREDICT.split("/")[1]
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, {"Predict": predict})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"127.0.0.1:{port}", flush=True)
    sys.stdin.read()
    server.stop(0).wait()


if __name__ == "__main__":
    _main()

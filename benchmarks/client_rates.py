"""The scoring client against fixed numbers of requests in flight, on servers of two tempers.

Every contestant sends the same rows in the same batches and makes the same records of the answers.
They take turns in short bursts, so that a machine that is busy for a while is so for all of them.
"""

from __future__ import annotations

import atexit
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.client_servers import start_refusing
from benchmarks.measuring import Measure, Readings, seconds_of
from benchmarks.setting import MODEL, Setting
from linnaeus.models import load_model
from linnaeus.records import PREDICTION_OUTPUTS
from serving.client import ScoringClient
from serving.client.channels import open_channels, predict_method
from serving.client.scoring import read_predictions
from serving.local import start_server
from serving.protocol import tensors, wire

FIXED = (1, 2, 4, 8, 16, 32)
BATCH_ROWS = 256
BURST_SECONDS = 1.0
BURSTS = 3
ROOM, SERVICE_SECONDS, SMALL_ROWS = 6, 0.008, 16

Vector = NDArray[np.float32]


def healthy(setting: Setting) -> Measure:
    """On the embedded server, signature `embedding`; all on this machine's processors."""
    stack = _kept_open()
    version = load_model(setting.home, MODEL).version
    address = stack.enter_context(start_server(setting.home.uri, MODEL, version))
    size = setting.spec().embedding_size
    rows = np.random.default_rng(0).random((BATCH_ROWS, size), np.float32)
    return _contest("client-healthy", stack, address, version, rows)


def refusing(setting: Setting) -> Measure:
    """On a stand-in that refuses more than six calls, each of which takes eight milliseconds."""
    del setting
    stack = _kept_open()
    address = stack.enter_context(start_refusing(ROOM, SERVICE_SECONDS))
    rows = np.ones((SMALL_ROWS, 8), np.float32)
    return _contest("client-refusing", stack, address, 1, rows)


def _kept_open() -> ExitStack:
    stack = ExitStack()
    atexit.register(stack.close)
    return stack


def _contest(key: str, stack: ExitStack, address: str, version: int, rows: Vector) -> Measure:
    client = stack.enter_context(ScoringClient(address, batch_rows=len(rows)))
    pools = {n: FixedPool(address, version, rows, n) for n in FIXED}
    for pool in pools.values():
        stack.callback(pool.close)

    def adaptive(batches: int) -> Latencies:
        return adaptive_burst(client, version, rows, batches)

    contestants: dict[str, Burst] = {"adaptive": adaptive}
    contestants |= {f"fixed-{n}": pool.burst for n, pool in pools.items()}
    sizes = {name: _batches_of_a_burst(burst) for name, burst in contestants.items()}

    def measure() -> Readings:
        seconds = dict.fromkeys(contestants, 0.0)
        latencies: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(BURSTS):
            for name in random.sample(list(contestants), len(contestants)):

                def one(name: str = name) -> None:
                    latencies[name] += contestants[name](sizes[name])

                seconds[name] += seconds_of(one)
        rates = {name: BURSTS * sizes[name] * len(rows) / seconds[name] for name in contestants}
        return _readings(key, rates, latencies)

    return measure


Latencies = Sequence[float]
"""Seconds from the first try of a request to its answer; none where they cannot be seen."""
Burst = Callable[[int], Latencies]


def _batches_of_a_burst(burst: Burst) -> int:
    """As many as take about `BURST_SECONDS`; warms up as well."""
    burst(8)
    batches, seconds = 8, 0.0
    while seconds < BURST_SECONDS / 2:
        batches *= 2
        seconds = seconds_of(partial(burst, batches))
    return max(1, round(batches * BURST_SECONDS / seconds))


def _readings(key: str, rates: dict[str, float], latencies: dict[str, list[float]]) -> Readings:
    readings = {f"{key}-{name}": rate for name, rate in rates.items()}
    best = max((name for name in rates if name != "adaptive"), key=rates.__getitem__)
    readings[f"{key}-best-fixed"] = rates[best]
    for title, name in (("adaptive", "adaptive"), ("best-fixed", best)):
        for percent in (50, 99):
            milliseconds = 1000 * float(np.percentile(latencies[name], percent))
            readings[f"{key}-{title}-p{percent}"] = milliseconds
    return readings


def adaptive_burst(client: ScoringClient, version: int, rows: Vector, batches: int) -> list[float]:
    """The client over so many batches of the same rows."""
    latencies: list[float] = []
    read = np.zeros(batches)

    def stream() -> Iterator[tuple[int, Vector]]:
        for batch in range(batches):
            read[batch] = time.perf_counter()
            for row in rows:
                yield batch, row

    for position, (batch, outcome) in enumerate(
        client.score(MODEL, version, "embedding", stream()), 1
    ):
        if isinstance(outcome, Exception):
            raise outcome
        if position % len(rows) == 0:
            latencies.append(time.perf_counter() - read[batch])
    assert len(latencies) == batches
    return latencies


class FixedPool:
    """What one would write: a pool of threads that each send a request and read its answer.

    A refused request goes again after a random wait.
    """

    def __init__(self, address: str, version: int, rows: Vector, in_flight: int) -> None:
        self._version, self._rows = version, rows
        self._channels = open_channels(address, min(in_flight, 4))
        self._methods = [predict_method(channel) for channel in self._channels]
        self._pool = ThreadPoolExecutor(in_flight)

    def close(self) -> None:
        """End its connections."""
        self._pool.shutdown()
        for channel in self._channels:
            channel.close()

    def burst(self, batches: int) -> list[float]:
        """So many batches of the same rows."""
        return list(self._pool.map(self._score, range(batches)))

    def _score(self, number: int) -> float:
        started = time.perf_counter()
        method = self._methods[number % len(self._methods)]
        response = self._answer(method, self._request())
        read_predictions(response.outputs, PREDICTION_OUTPUTS, len(self._rows))
        return time.perf_counter() - started

    def _request(self) -> Any:
        request = wire.PredictRequest(output_filter=PREDICTION_OUTPUTS)
        request.model_spec.name = MODEL
        request.model_spec.version.value = self._version
        request.model_spec.signature_name = "embedding"
        tensors.fill_content(request.inputs["embedding"], np.stack(list(self._rows)))
        return request

    @staticmethod
    def _answer(method: Any, request: Any) -> Any:
        delay = 0.005
        while True:
            try:
                return method(request, timeout=60)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
            time.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(2 * delay, 0.1)

"""The scoring client against fixed numbers of requests in flight, on servers of two tempers.

Every contestant sends the same rows in the same batches and makes the same records of the answers.
They take turns in short bursts, so that a machine that is busy for a while is so for all of them.
"""

from __future__ import annotations

import atexit
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.client_servers import start_refusing
from benchmarks.measuring import Measure, Readings
from benchmarks.setting import MODEL, Setting
from linnaeus.models import load_model
from linnaeus.records import PREDICTION_OUTPUTS
from linnaeus.worker import Answer, Scorer
from serving.client import ScoringClient
from serving.client.answers import read_predictions
from serving.client.batches import batches
from serving.client.channels import open_channels, predict_method
from serving.local import start_server
from serving.protocol import tensors, wire

FIXED = (1, 2, 4, 8, 16, 32)
BATCH_ROWS, BATCH_BYTES = 256, 4 << 20
WARM_UP_SECONDS, BURST_SECONDS = 0.4, 0.8
BURSTS = 4
AHEAD = 4
"""Batches that a pool may have read for each thread, lest one that waits holds up the others."""
ROOM, SERVICE_SECONDS, SMALL_ROWS = 6, 0.008, 16

Vector = NDArray[np.float32]


def healthy(setting: Setting) -> Measure:
    """On the embedded server, signature `embedding`; all on this machine's processors."""
    version = load_model(setting.home, MODEL).version
    address = _kept_open(start_server(setting.home.uri, MODEL, version))
    size = setting.spec().embedding_size
    rows = np.random.default_rng(0).random((BATCH_ROWS, size), np.float32)
    return _contest("client-healthy", address, version, rows)


def refusing(setting: Setting) -> Measure:
    """On a stand-in that refuses more than six calls, each of which takes eight milliseconds."""
    del setting
    address = _kept_open(start_refusing(ROOM, SERVICE_SECONDS))
    return _contest("client-refusing", address, 1, np.ones((SMALL_ROWS, 8), np.float32))


def _kept_open(context: AbstractContextManager[str]) -> str:
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(context)


@dataclass(frozen=True)
class Burst:
    """What a client did for a while."""

    rows_a_second: float
    latencies: Sequence[float]
    """Seconds from the first row of a batch that is read to its last answer."""


def _contest(key: str, address: str, version: int, rows: Vector) -> Measure:
    contestants: dict[str, Callable[[], Scorer]] = {
        "adaptive": lambda: ScoringClient(address, batch_rows=len(rows))
    }
    for n in FIXED:
        contestants[f"fixed-{n}"] = partial(FixedPool, address, len(rows), n)

    def measure() -> Readings:
        bursts: dict[str, list[Burst]] = {name: [] for name in contestants}
        for _ in range(BURSTS):
            for name in random.sample(list(contestants), len(contestants)):
                # A client of its own for each: which processor a connection falls to is luck.
                with closing(contestants[name]()) as client:
                    burst_of(client, version, rows, WARM_UP_SECONDS)
                    bursts[name].append(burst_of(client, version, rows, BURST_SECONDS))
        return _readings(key, bursts)

    return measure


def _readings(key: str, bursts: Mapping[str, Sequence[Burst]]) -> Readings:
    """Which fixed number is best, one half of the bursts decides; how good it is, the other.

    The best of several in the same bursts would be the luckiest of them.
    """
    deciding = {name: _rate(found[::2]) for name, found in bursts.items() if name != "adaptive"}
    best = max(deciding, key=deciding.__getitem__)
    readings = {f"{key}-{name}": _rate(found[1::2]) for name, found in bursts.items()}
    readings[f"{key}-best-fixed"] = readings[f"{key}-{best}"]
    for title, name in (("adaptive", "adaptive"), ("best-fixed", best)):
        latencies = [one for burst in bursts[name] for one in burst.latencies]
        for percent in (50, 99):
            milliseconds = 1000 * float(np.percentile(latencies, percent))
            readings[f"{key}-{title}-p{percent}"] = milliseconds
    return readings


def _rate(bursts: Sequence[Burst]) -> float:
    return fmean(burst.rows_a_second for burst in bursts)


def burst_of(client: Scorer, version: int, rows: Vector, seconds: float) -> Burst:
    """Batches of the same rows for a while, one by one into a client and one by one out of it."""
    started = time.perf_counter()
    read: list[float] = []

    def stream() -> Iterator[tuple[Any, Vector]]:
        while (now := time.perf_counter()) < started + seconds:
            read.append(now)
            for row in rows:
                yield len(read) - 1, row

    latencies: list[float] = []
    answers = 0
    for batch, outcome in client.score(MODEL, version, "embedding", stream()):
        if isinstance(outcome, Exception):
            raise outcome
        answers += 1
        if answers % len(rows) == 0:
            latencies.append(time.perf_counter() - read[int(batch)])
    assert answers == len(read) * len(rows)
    return Burst(answers / (time.perf_counter() - started), latencies)


class FixedPool:
    """What one would write: a pool of threads that each send a request and read its answer.

    A refused request goes again after a random wait.
    """

    def __init__(self, address: str, batch_rows: int, in_flight: int) -> None:
        self._batch_rows, self._in_flight = batch_rows, in_flight
        self._channels = open_channels(address, min(in_flight, 4))
        self._methods = itertools.cycle([predict_method(channel) for channel in self._channels])
        self._pool = ThreadPoolExecutor(in_flight)

    def close(self) -> None:
        """End its connections."""
        self._pool.shutdown()
        for channel in self._channels:
            channel.close()

    def score(
        self, model: str, version: int, signature: str, rows: Iterable[tuple[str, Any]]
    ) -> Iterator[tuple[str, Answer]]:
        """As `ScoringClient.score`, of embeddings."""
        send = partial(self._score_batch, model, version, signature)
        pending: deque[Future[list[tuple[str, Answer]]]] = deque()
        for batch in batches(rows, self._batch_rows, BATCH_BYTES):
            pending.append(self._pool.submit(send, batch))
            if len(pending) > AHEAD * self._in_flight:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()

    def _score_batch(
        self, model: str, version: int, signature: str, batch: list[tuple[str, Any]]
    ) -> list[tuple[str, Answer]]:
        request = wire.PredictRequest(output_filter=PREDICTION_OUTPUTS)
        request.model_spec.name = model
        request.model_spec.version.value = version
        request.model_spec.signature_name = signature
        rows = np.stack([row for _, row in batch])
        tensors.fill_content(request.inputs["embedding"], rows)
        response = self._answer(next(self._methods), request)
        said = read_predictions(response.outputs, PREDICTION_OUTPUTS, len(batch))
        return [(key, one) for (key, _), one in zip(batch, said, strict=True)]

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

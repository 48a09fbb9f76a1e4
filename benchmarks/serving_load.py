"""Clients that each send their next request when the last is answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
import numpy as np

from serving.protocol import wire

CHANNELS = 4
PERCENTILES = (50, 90, 99)


@dataclass
class Load:
    """What clients of one server have seen."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Of the answered requests, in seconds."""
    failures: list[str] = field(default_factory=list)

    @property
    def requests_per_second(self) -> float:
        """Answered ones."""
        return len(self.latencies) / self.seconds

    def percentile_msec(self, percent: int) -> float:
        """The latency that so many of a hundred requests keep."""
        return float(np.percentile(self.latencies, percent)) * 1e3


class Clients:
    """Sends one request again and again, over a few connections; answers are not read."""

    def __init__(self, address: str, request: bytes, count: int) -> None:
        unlimited = ("grpc.max_receive_message_length", -1)
        self._channels = [
            grpc.insecure_channel(address, [unlimited, ("linnaeus.channel", number)])
            for number in range(min(CHANNELS, count))
        ]
        self._request, self._count = request, count

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for channel in self._channels:
            channel.close()

    def run(self, go_on: Callable[[], bool]) -> Load:
        """Send as long as one may."""
        load = Load()
        started = time.perf_counter()
        with ThreadPoolExecutor(self._count) as pool:
            for number in range(self._count):
                pool.submit(self._send, self._channels[number % len(self._channels)], load, go_on)
        load.seconds = time.perf_counter() - started
        return load

    def run_for(self, seconds: float) -> Load:
        """Send for so long."""
        stop = threading.Event()
        timer = threading.Timer(seconds, stop.set)
        timer.start()
        return self.run(lambda: not stop.is_set())

    def _send(self, channel: grpc.Channel, load: Load, go_on: Callable[[], bool]) -> None:
        predict = channel.unary_unary(wire.PREDICT)
        while go_on():
            started = time.perf_counter()
            try:
                predict(self._request, timeout=60)
            except grpc.RpcError as error:
                load.failures.append(str(error))
            else:
                load.latencies.append(time.perf_counter() - started)

"""Large bodies over REST, and what is left to gRPC's clients meanwhile."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.measuring import Measure, Readings
from benchmarks.serving_load import Clients
from benchmarks.serving_rates import SECONDS, start_server
from benchmarks.serving_requests import feeds, request
from benchmarks.setting import MODEL, Setting

BODY_BYTES = 15_000_000
SENDERS = 3
GRPC_CLIENTS = 8


def bodies(setting: Setting) -> Measure:
    """Seconds a large body takes, right and with one wrong value, and gRPC's rate beside three."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = start_server(setting, f"--rest_api_port={port}")
    data = request(setting, "embedding", 1)
    row = feeds(setting, "embedding", 1)["embedding"].tolist()
    rows = row * (BODY_BYTES // len(json.dumps(row)))
    good = json.dumps({"signature_name": "embedding", "instances": rows}).encode()
    rows[-1] = [*rows[-1][:-1], "wrong"]
    wrong = json.dumps({"signature_name": "embedding", "instances": rows}).encode()

    # The process that reads large bodies is started by the first.
    _seconds(port, good)

    def measure() -> Readings:
        with Clients(server.address, data, GRPC_CLIENTS) as clients:
            clients.run_for(SECONDS / 4)
            alone = clients.run_for(SECONDS)
            readings = {"body-good": _seconds(port, good), "body-wrong": _seconds(port, wrong)}
            stop = threading.Event()
            with ThreadPoolExecutor(SENDERS) as pool:
                sent = [pool.submit(_send_until, stop, port, wrong) for _ in range(SENDERS)]
                beside = clients.run_for(SECONDS * 3)
                stop.set()
            for each in sent:
                each.result()
        return readings | {
            "body-grpc-alone": alone.requests_per_second,
            "body-grpc-beside": beside.requests_per_second,
            "body-grpc-beside-p99": beside.percentile_msec(99),
        }

    return measure


def _send_until(stop: threading.Event, port: int, body: bytes) -> None:
    while not stop.is_set():
        _seconds(port, body)


def _seconds(port: int, body: bytes) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    started = time.perf_counter()
    try:
        connection.request("POST", f"/v1/models/{MODEL}:predict", body)
        answer = connection.getresponse()
        answer.read()
        if answer.status not in {200, 400}:
            raise RuntimeError(f"a body was answered with status {answer.status}")
    finally:
        connection.close()
    return time.perf_counter() - started

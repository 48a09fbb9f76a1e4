"""The embedded server over gRPC, against the same model called in one process."""

from __future__ import annotations

import atexit
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import Measure, Readings
from benchmarks.serving_load import PERCENTILES, Clients, Load
from benchmarks.serving_process import ServerProcess, model_server
from benchmarks.serving_requests import ROWS, feeds, request
from benchmarks.setting import MODEL, Setting

CLIENTS = (1, 8, 32)
"""How many requests are under way at a time."""
SECONDS = 2.0
"""A cell's; a quarter of it before, unmeasured."""

BATCHED = ("embedding", "pixels")
"""Signatures that are measured with requests of one row, too."""
BATCHING_PARAMETERS = """\
max_batch_size { value: 32 }
batch_timeout_micros { value: 0 }
max_enqueued_batches { value: 1000 }
num_batch_threads { value: 2 }
"""

SWITCHING_CLIENTS = 2
SWITCHES = 10
SETTLING_SWITCHES = 3
"""Before those that are measured: memory pools grow to their size."""


def direct(setting: Setting, signature: str) -> Measure:
    """Rows a second of the session itself, by one caller or several, whichever is faster."""
    from serving.models.saved_models import SavedModel

    model = SavedModel(_newest(setting))
    found = model.signatures[signature]
    rows = feeds(setting, signature, ROWS[signature])
    fed = {found.inputs[alias].name: array for alias, array in rows.items()}
    fetched = [info.name for info in found.outputs.values()]

    def rate(callers: int) -> float:
        return ROWS[signature] * _calls_per_second(lambda: model.run(fed, fetched), callers)

    rate(1)
    return lambda: {f"direct-{signature}": max(rate(1), rate(CLIENTS[1]))}


def served(setting: Setting) -> Measure:
    """Rows a second of each signature by so many clients, and how long a request takes."""
    server = start_server(setting)

    def measure() -> Readings:
        readings: Readings = {}
        for signature, clients in product(ROWS, CLIENTS):
            data = request(setting, signature, ROWS[signature])
            load = _load(server, data, clients)
            key = f"served-{signature}-{clients}"
            readings[key] = load.requests_per_second * ROWS[signature]
            if clients == CLIENTS[1]:
                readings |= _latencies(key, load)
        return readings

    return measure


def single_rows(setting: Setting, batching: str) -> Measure:
    """Requests a second of one row each, where the server may put them together or not."""
    flags = []
    if batching == "batched":
        path = Path(setting.data) / "batching-parameters.txt"
        path.write_text(BATCHING_PARAMETERS)
        flags = ["--enable_batching=true", f"--batching_parameters_file={path}"]
    server = start_server(setting, *flags)

    def measure() -> Readings:
        readings: Readings = {}
        for signature, clients in product(BATCHED, CLIENTS):
            load = _load(server, request(setting, signature, 1), clients)
            key = f"{batching}-{signature}-{clients}"
            readings[key] = load.requests_per_second
            if clients == CLIENTS[-1]:
                readings |= _latencies(key, load)
        return readings

    return measure


def switches(setting: Setting) -> Measure:
    """Failed requests and growth of memory while versions are replaced under load."""

    def measure() -> Readings:
        with TemporaryDirectory(prefix="scratch-", dir=setting.data) as folder:
            base = Path(folder)
            _publish(setting, base, 1)
            with model_server(base, "--file_system_poll_wait_seconds=0.1") as server:
                return _switch_under_load(setting, server, base)

    return measure


def _switch_under_load(setting: Setting, server: ServerProcess, base: Path) -> Readings:
    stop = threading.Event()
    data = request(setting, "embedding", ROWS["embedding"])
    with Clients(server.address, data, SWITCHING_CLIENTS) as clients, ThreadPoolExecutor(1) as pool:
        running = pool.submit(clients.run, lambda: not stop.is_set())
        megabytes = []
        for version in range(2, 2 + SETTLING_SWITCHES + SWITCHES):
            _publish(setting, base, version)
            _wait_until_only(server, version)
            megabytes.append(server.megabytes())
        stop.set()
        load = running.result()
    growth = megabytes[-1] - megabytes[SETTLING_SWITCHES - 1]
    return {
        "switch-failures": float(len(load.failures)),
        "switch-growth": growth,
        "switch-memory": megabytes[-1],
        "switch-p99": load.percentile_msec(99),
    }


def _publish(setting: Setting, base: Path, version: int) -> None:
    staging = base / f"staging-{version}"
    # Without warm-up records, which would take most of the time: they run the backbone.
    without = shutil.ignore_patterns("assets.extra")
    shutil.copytree(_newest(setting), staging, ignore=without, copy_function=os.link)
    staging.rename(base / str(version))


def _wait_until_only(server: ServerProcess, version: int) -> None:
    """Until a version is available and those before it are gone."""
    import grpc

    from serving.protocol import wire

    query = wire.GetModelStatusRequest()
    query.model_spec.name = MODEL
    with grpc.insecure_channel(server.address) as channel:
        ask = channel.unary_unary(
            wire.GET_MODEL_STATUS,
            wire.GetModelStatusRequest.SerializeToString,
            wire.GetModelStatusResponse.FromString,
        )
        give_up_at = time.monotonic() + 60
        while time.monotonic() < give_up_at:
            states = ask(query, timeout=30).model_version_status
            serving = {s.version for s in states if s.state in {*wire.STATE_LOADING, 30, 40}}
            if serving == {version}:
                return
            time.sleep(0.05)
    raise RuntimeError(f"version {version} was not taken up within a minute")


def start_server(setting: Setting, *flags: str) -> ServerProcess:
    """A server of the home's model until this process ends."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(model_server(_newest(setting).parent, *flags))


def _newest(setting: Setting) -> Path:
    base = Path(setting.home.uri) / "models" / MODEL
    return max((p for p in base.iterdir() if p.name.isdecimal()), key=lambda p: int(p.name))


def _load(server: ServerProcess, data: bytes, clients: int) -> Load:
    with Clients(server.address, data, clients) as sending:
        sending.run_for(SECONDS / 4)
        load = sending.run_for(SECONDS)
    if load.failures:
        raise RuntimeError(f"{len(load.failures)} requests failed: {load.failures[0]}")
    return load


def _latencies(key: str, load: Load) -> Readings:
    return {f"{key}-p{percent}": load.percentile_msec(percent) for percent in PERCENTILES}


def _calls_per_second(work: Callable[[], object], callers: int) -> float:
    """How often so many threads together do something."""
    started = time.perf_counter()

    def call(_: int) -> int:
        count = 0
        while time.perf_counter() < started + SECONDS:
            work()
            count += 1
        return count

    with ThreadPoolExecutor(callers) as pool:
        calls = sum(pool.map(call, range(callers)))
    return calls / (time.perf_counter() - started)

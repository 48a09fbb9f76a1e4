"""Large bodies and answers, read and written in processes of their own."""

import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from serving.grpc_status import StatusError
from serving.rest.processes import Processes
from serving.rest.reading import EXAMPLES, Expected, Reading, read
from tests.serving.rest.conftest import PREDICT

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
FLOATS = {"serving_default": {"x": 1}}
LARGE = json.dumps({"instances": [[0.5, 1]] * 20_000}).encode()


class Readers(Processes):
    def read(self, body: bytes, expected: Expected) -> Reading:
        found: Reading = self.run(len(body), read, body, expected)
        return found


@pytest.fixture
def readers() -> Iterator[Readers]:
    made = Readers(8 * MIB)
    yield made
    made.close()


def children(pid: int) -> list[int]:
    """The reading processes of a process."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            is_child = f"\nPPid:\t{pid}\n" in status.read_text()
            command = (status.parent / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        if is_child and b"serving.rest.processes" in command:
            found.append(int(status.parent.name))
    return found


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    # Its first thread may have ended before the others.
    return "State:\tZ" not in status or "Threads:\t1\n" not in status


def test_a_large_body_is_read_as_a_small_one_is(readers: Readers):
    assert not children(os.getpid())
    found = readers.read(LARGE, FLOATS)
    assert found.columns["x"].dtype == np.float32
    assert found.columns["x"].tolist() == [[0.5, 1]] * 20_000
    assert readers.read(b'{"instances": [[0.5, 1]]}', FLOATS).columns["x"].tolist() == [[0.5, 1]]
    assert len(children(os.getpid())) == 1


def test_examples_of_a_large_body_are_the_protocols_messages(readers: Readers):
    from tensorflow_serving.apis import input_pb2

    document = {
        "signature_name": "s",
        "context": {"c": ["ä", {"b64": "/w=="}]},
        "examples": [{"x": 0.5, "y": [1, True]}] * 5_000,
    }
    for count in (5_000, 2):
        document["examples"] = document["examples"][:count]
        found = readers.read(json.dumps(document).encode(), EXAMPLES)
        listed = input_pb2.Input.FromString(found.input).example_list_with_context
        assert found.signature_name == "s"
        assert listed.context.features.feature["c"].bytes_list.value == ["ä".encode(), b"\xff"]
        assert len(listed.examples) == count
        feature = listed.examples[-1].features.feature
        assert (feature["x"].float_list.value, feature["y"].int64_list.value) == ([0.5], [1, 1])


def test_a_large_answer_is_written_as_a_small_one_is(readers: Readers):
    from serving.rest.json_outputs import rows_document

    array = np.arange(60_000, dtype=np.float32).reshape(-1, 2) / 7
    outputs = {"y": array, "z_bytes": np.array([b"a"] * len(array), object)}
    here = rows_document(outputs)
    assert readers.run(array.nbytes, rows_document, outputs) == here
    assert children(os.getpid())
    with pytest.raises(StatusError, match="for tensor type: complex64"):
        readers.run(array.nbytes, rows_document, {"y": array.astype(np.complex64)})


def test_a_refusal_comes_back_with_its_code_and_words(readers: Readers):
    for dtype, code in ((1, grpc.StatusCode.INVALID_ARGUMENT), (19, grpc.StatusCode.UNIMPLEMENTED)):
        refusals = []
        for count in (1, 50_000):
            body = json.dumps({"inputs": ["x" * 9] * count}).encode()
            with pytest.raises(StatusError) as caught:
                readers.read(body, {"serving_default": {"x": dtype}})
            refusals.append((caught.value.code, caught.value.text))
        assert refusals[0] == refusals[1]
        assert refusals[0][0] == code


def test_a_process_that_is_killed_costs_its_request_at_most(readers: Readers):
    readers.read(LARGE, FLOATS)
    [pid] = children(os.getpid())
    os.kill(pid, signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reading = pool.submit(readers.read, LARGE, FLOATS)
        time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(StatusError) as caught:
            reading.result(timeout=20)
    assert caught.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(readers.read(LARGE, FLOATS).columns["x"]) == 20_000
    [pid] = children(os.getpid())
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_running(pid))
    assert len(readers.read(LARGE, FLOATS).columns["x"]) == 20_000


def test_memory_is_bounded_and_freed_again(readers: Readers):
    body = b'{"inputs": [' + b"{}," * (40 * MIB // 3) + b"1]}"
    with pytest.raises(StatusError) as caught:
        readers.read(body, FLOATS)
    assert caught.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not children(os.getpid())
    assert len(readers.read(LARGE, FLOATS).columns["x"]) == 20_000


def until(is_so: Any) -> None:
    give_up_at = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


OWNER = """
import time
from serving.rest.processes import Processes
processes = Processes(2**20)
processes.run(100_000, len, b"ab")
print("read", flush=True)
time.sleep(60)
"""


def test_a_reading_process_ends_with_its_owner_however_that_ends():
    command = [sys.executable, "-c", OWNER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == "read\n"
        [pid] = children(owner.pid)
        owner.kill()
    until(lambda: not is_running(pid))


def test_grpc_is_answered_while_wrong_bodies_are_read(server: Any, ask: Any):
    from serving.client import ScoringClient

    body = json.dumps({"instances": [[0.5]] * 400_000 + [["x"]]})
    with (
        ScoringClient(server.address, channels=1, in_flight=1) as client,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        client.resolve_version("m", 123)
        refused = pool.submit(ask, PREDICT, body)
        waits = []
        while not refused.done():
            started = time.monotonic()
            client.resolve_version("m", 123)
            waits.append(time.monotonic() - started)
        status, answer = refused.result()
    assert status == 400
    assert answer["error"].startswith("Failed to process element: 400000 ")
    # Under the interpreter's lock three quarters of it would be one wait.
    assert max(waits) < sum(waits) / 2

"""Batching as clients of the program meet it."""

import concurrent.futures
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from serving.protocol import tensors, wire
from tests.serving.test_model_server import Program, ended, running

pytestmark = pytest.mark.slow

PARAMETERS = """
max_batch_size { value: 4 }
batch_timeout_micros { value: 1000000 }
max_enqueued_batches { value: 10 }
allowed_batch_sizes: 2
allowed_batch_sizes: 4
"""


@pytest.fixture(scope="module")
def base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says how many rows it was given at once."""
    import tensorflow as tf

    class Telltale(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def tell(self, x: Any) -> dict[str, Any]:
            return {"y": 2 * x, "rows": tf.fill(tf.shape(x), tf.shape(x)[0])}

    base = tmp_path_factory.mktemp("telltale")
    module = Telltale()
    tf.saved_model.save(module, str(base / "1"), module.tell)
    return base


@pytest.fixture(scope="module")
def program(base_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    parameters = tmp_path_factory.mktemp("config") / "batching.config"
    parameters.write_text(PARAMETERS)
    flags = [f"--model_base_path={base_path}", "--enable_batching", "--grpc_max_threads=8"]
    with running(*flags, f"--batching_parameters_file={parameters}") as program:
        yield program


def ask(program: Program, *x: float) -> tuple[list[float], list[int]]:
    """Each row's y, and how many rows ran with it."""
    request = wire.PredictRequest(model_spec={"name": "default"})
    tensors.fill_content(request.inputs["x"], np.array(x, "float32"))
    with grpc.insecure_channel(program.address) as channel:
        call = channel.unary_unary(
            wire.PREDICT,
            request_serializer=wire.PredictRequest.SerializeToString,
            response_deserializer=wire.PredictResponse.FromString,
        )
        outputs = call(request, timeout=30).outputs
    y, rows = (tensors.to_array(outputs[name]).tolist() for name in ("y", "rows"))
    return y, rows


def test_requests_that_come_together_run_as_one_and_each_gets_its_rows(program: Program):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda x: ask(program, x), range(4)))
    assert answers == [([2.0 * x], [4]) for x in range(4)]


def test_a_lone_request_is_filled_up_to_an_allowed_size(program: Program):
    assert ask(program, 5.0) == ([10.0], [2])
    assert ask(program, 5.0, 6.0, 7.0) == ([10.0, 12.0, 14.0], [4, 4, 4])


def test_a_request_above_the_largest_batch_is_refused(program: Program):
    with pytest.raises(grpc.RpcError) as refused:
        ask(program, *range(5))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == "Task size 5 is larger than maximum input batch size 4"


def test_a_signal_lets_requests_in_the_queue_finish(base_path: Path, tmp_path: Path):
    parameters = tmp_path / "batching.config"
    parameters.write_text(PARAMETERS)
    flags = [f"--model_base_path={base_path}", "--enable_batching"]
    with (
        running(*flags, f"--batching_parameters_file={parameters}") as program,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        ask(program, 0.0)
        asked = pool.submit(ask, program, 5.0)
        time.sleep(0.5)
        program.process.send_signal(signal.SIGTERM)
        assert not asked.done(), "the request waited too short for this test"
        assert asked.result(30) == ([10.0], [2])
        assert program.process.wait(30) == 0


def test_parameters_that_contradict_each_other_are_one_line(base_path: Path, tmp_path: Path):
    parameters = tmp_path / "batching.config"
    parameters.write_text("max_batch_size { value: 4 } allowed_batch_sizes: 2")
    flag = f"--batching_parameters_file={parameters}"
    program = ended(f"--model_base_path={base_path}", "--enable_batching", flag)
    assert program.returncode == 1
    assert "must match max_batch_size" in program.stderr.splitlines()[-1]
    assert str(parameters) in program.stderr.splitlines()[-1]

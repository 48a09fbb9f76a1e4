"""The program: its start, its flags at work, its end."""

import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from serving.protocol import tensors, wire

pytestmark = pytest.mark.slow

SECONDS = 30
START_SECONDS = 120


@dataclass
class Program:
    process: subprocess.Popen[str]
    address: str
    rest_address: str = ""

    def ask(self, name: str, x: float = 0.0, timeout: float = SECONDS) -> tuple[int, float]:
        """The version that answers, and its y."""
        request = wire.PredictRequest(model_spec={"name": name})
        tensors.fill_content(request.inputs["x"], np.array([[x]], "float32"))
        with grpc.insecure_channel(self.address) as channel:
            call = channel.unary_unary(
                wire.PREDICT,
                request_serializer=wire.PredictRequest.SerializeToString,
                response_deserializer=wire.PredictResponse.FromString,
            )
            response = call(request, timeout=timeout)
        return response.model_spec.version.value, tensors.to_array(response.outputs["y"]).item()


@contextmanager
def running(*flags: str) -> Iterator[Program]:
    """The program on a free port, killed by its object whatever happens."""
    command = [sys.executable, "-m", "serving.model_server", "--port=0", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(START_SECONDS, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        address = process.stdout.readline().rpartition(" ")[2].strip()
        assert address, "the program did not start"
        rest = any(flag.startswith("--rest_api_port") for flag in flags)
        rest_address = process.stdout.readline().rpartition(" ")[2].strip() if rest else ""
        yield Program(process, address, rest_address)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def ended(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "serving.model_server", "--port=0", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def listed(models: dict[str, Path], rest: str = "") -> str:
    configs = [
        f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {rest} }}'
        for name, base in models.items()
    ]
    return "model_config_list {" + " ".join(configs) + "}"


def until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base path of a model that multiplies matrices, x times."""
    import tensorflow as tf

    class Slow(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
        def slow(self, x: Any) -> dict[str, Any]:
            matrix = tf.eye(300)
            for _ in tf.range(tf.cast(x[0, 0], tf.int32)):
                matrix = tf.matmul(matrix, matrix)
            return {"y": matrix[0, :1]}

    base = tmp_path_factory.mktemp("slow")
    module = Slow()
    tf.saved_model.save(module, str(base / "1"), module.slow)
    return base


@pytest.fixture(scope="module")
def bases(half_plus: Any, slow: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    bases = {}
    for name, offset in (("two", 2), ("three", 3)):
        bases[name] = tmp_path_factory.mktemp(name)
        (bases[name] / "123").symlink_to(half_plus(offset))
    return {**bases, "slow": slow}


@pytest.fixture(scope="module")
def config_file(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "models.config"
    path.write_text(listed({name: bases[name] for name in ("two", "slow")}))
    return path


@pytest.fixture(scope="module")
def program(config_file: Path) -> Iterator[Program]:
    monitoring = config_file.parent / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        rest_port = free.getsockname()[1]
    with running(
        f"--model_config_file={config_file}",
        "--model_config_file_poll_wait_seconds=0.1",
        f"--rest_api_port={rest_port}",
        "--rest_api_timeout_in_ms=30000",
        "--grpc_channel_arguments=grpc.max_concurrent_streams=100,grpc.keepalive_time_ms=9000",
        f"--grpc_socket_path={config_file.parent / 'socket'}",
        f"--monitoring_config_file={monitoring}",
        "--enable_grpc_healthcheck_service",
        "--flush_filesystem_caches=false",
        "--enable_model_warmup=true",
    ) as program:
        yield program


def test_the_models_of_a_config_file_are_served(program: Program):
    assert program.ask("two") == (123, 2.0)
    assert program.ask("slow", 1.0) == (1, 1.0)


def test_a_model_that_the_config_file_gets_is_served_soon(
    program: Program, config_file: Path, bases: dict[str, Path]
):
    with pytest.raises(grpc.RpcError) as caught:
        program.ask("three")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    config_file.write_text(listed(bases))

    def served() -> bool:
        try:
            return program.ask("three") == (123, 3.0)
        except grpc.RpcError:
            return False

    until(served)


def test_metrics_are_read_on_the_rest_port(program: Program):
    program.ask("two")
    url = f"http://{program.rest_address}/monitoring/prometheus/metrics"
    with urllib.request.urlopen(url, timeout=SECONDS) as response:
        text = response.read().decode()
        assert response.headers["Content-Type"].startswith("text/plain")
    assert "# TYPE :tensorflow:serving:request_count counter\n" in text
    assert ':tensorflow:serving:request_count{model_name="two",status="OK"}' in text


def test_a_rest_call_that_takes_too_long_is_broken_off(slow: Path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = [f"--model_base_path={slow}", f"--rest_api_port={port}", "--rest_api_timeout_in_ms=900"]
    with running(*flags) as program:

        def post(x: float) -> int:
            url = f"http://127.0.0.1:{port}/v1/models/default:predict"
            request = urllib.request.Request(url, f'{{"instances": [[{x}]]}}'.encode())
            try:
                with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                assert error.read() == b'{\n    "error": "Timed out waiting for notification"\n}'
                return int(error.code)

        assert post(1e7) == 504
        # Nor does a run go on for a client that has gone.
        with pytest.raises(grpc.RpcError):
            program.ask("default", 1e7, timeout=0.5)
        assert post(1.0) == 200
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(5) == 0


def test_the_unix_socket_answers(program: Program, config_file: Path):
    socket = Program(program.process, f"unix:{config_file.parent / 'socket'}")
    assert socket.ask("two") == (123, 2.0)


def test_a_signal_lets_requests_finish_and_closes_the_port_first(slow: Path):
    with running("--model_name=slow", f"--model_base_path={slow}") as program:
        program.ask("slow", 1.0)
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.append(program.ask("slow", 12_000.0)))
        asking.start()
        time.sleep(0.5)
        program.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(grpc.RpcError):
            program.ask("slow", 1.0, timeout=0.3)
        assert not answers, "the request was too short for this test"
        asking.join(SECONDS)
        assert answers == [(1, 1.0)]
        assert program.process.wait(SECONDS) == 0


def test_a_second_signal_ends_the_program_at_once(slow: Path):
    with running("--model_name=slow", f"--model_base_path={slow}") as program:
        asking = threading.Thread(target=lambda: failure(program))
        asking.start()
        time.sleep(0.5)
        started = time.monotonic()
        program.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(SECONDS) == -signal.SIGTERM
        assert time.monotonic() - started < 3
        asking.join(SECONDS)


def failure(program: Program) -> None:
    with pytest.raises(grpc.RpcError):
        program.ask("slow", 1e6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "improper model config",
            r"Error parsing text-format tensorflow\.serving\.ModelServerConfig",
        ),
        (
            listed({"m": Path("m")}),
            r"Failed to start server. Error: INVALID_ARGUMENT: Expected model m to have an abs",
        ),
    ],
)
def test_a_bad_config_is_one_line_and_a_failure(tmp_path: Path, text: str, words: str):
    (tmp_path / "bad.config").write_text(text)
    result = ended(f"--model_config_file={tmp_path / 'bad.config'}")
    assert result.returncode not in (0, None)
    assert re.match(f"error: {words}", result.stderr.splitlines()[-1])
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "--model_base_path and --model_config_file are empty"),
        (("--model_base_path=/m", "--use_alts_credentials"), "no ALTS here"),
        (
            ("--model_base_path=/m", "--batching_parameters_file=/b"),
            "--batching_parameters_file is set without",
        ),
        (("--model_base_path=/m", "--grpc_channel_arguments=a"), "--grpc_channel_arguments: 'a'"),
    ],
)
def test_flags_that_do_not_go_together_are_one_line(
    flags: tuple[str, ...], words: str, capsys: pytest.CaptureFixture
):
    from serving import model_server

    # In this process, whose signal handlers are put back.
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert model_server.main(["--port=0", *flags]) == 1
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert line.startswith("error: ")
    assert words in line


def test_a_program_that_waits_for_its_model_serves_it_once_it_is_there_and_ends_before(
    half_plus: Any, tmp_path: Path
):
    flags = ["--model_name=m", f"--model_base_path={tmp_path / 'm'}"]
    command = [sys.executable, "-m", "serving.model_server", "--port=0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                waiting.wait(10)
            waiting.send_signal(signal.SIGTERM)
            assert waiting.wait(SECONDS) == 0
        finally:
            waiting.kill()
    with_model = threading.Timer(3, lambda: publish(half_plus(2), tmp_path / "m"))
    with_model.start()
    with running(*flags) as program:
        assert program.ask("m") == (1, 2.0)


def publish(source: Path, base: Path) -> None:
    base.mkdir()
    (base / "1").symlink_to(source)


def test_the_version_is_told(capsys: pytest.CaptureFixture):
    from serving import model_server

    assert model_server.main(["--version"]) == 0
    assert re.match(r"TensorFlow ModelServer: .+\nTensorFlow Library: 2\.", capsys.readouterr().out)

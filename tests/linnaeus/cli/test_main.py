"""The installed program, in a process of its own."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys

import pytest

PROGRAM = [sys.executable, "-c", "from linnaeus.cli import main; main()"]
HEAVY = {"numpy", "pyarrow", "deltalake", "duckdb", "tensorflow", "apache_beam", "grpc", "openvino"}


def processor_seconds_of_help() -> float:
    """What `--help` takes on an idle machine, whatever else runs on this one."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*PROGRAM, "--help"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def test_help_takes_less_than_half_a_second():
    assert min(processor_seconds_of_help() for _ in range(5)) < 0.5


def test_commands_are_known_without_a_heavy_import():
    code = "import sys, json, linnaeus.cli.app; print(json.dumps(list(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert not HEAVY & set(json.loads(answer.stdout))


def test_wrong_usage_ends_with_status_2():
    answer = subprocess.run([*PROGRAM, "embed"], check=False, capture_output=True, text=True)
    assert answer.returncode == 2
    assert "IMAGES" in answer.stderr


def test_native_messages_are_dropped_and_our_own_lines_stay():
    code = (
        "import os, sys; from linnaeus.process import silence_libraries; silence_libraries();"
        "os.write(2, b'native chatter'); print('our line', file=sys.stderr)"
    )
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert answer.stderr == b"our line\n"


@pytest.mark.slow
def test_tensorflow_and_beam_say_nothing():
    code = (
        "from linnaeus.process import silence_libraries; silence_libraries();"
        "import apache_beam, tensorflow, tensorflow_hub"
    )
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (answer.stdout, answer.stderr) == (b"", b"")


def test_ctrl_c_ends_with_status_130_and_one_line():
    code = (
        "import signal, sys, time, types; module = types.ModuleType('linnaeus.workspace');\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # background jobs ignore it
        "class Workspace:\n"
        "    def __init__(self, uri, progress): ...\n"
        "    def embed(self, *_, **__): print('begun', flush=True); time.sleep(60)\n"
        "module.Workspace = Workspace; sys.modules['linnaeus.workspace'] = module\n"
        "from linnaeus.cli import main; sys.argv = ['linnaeus', 'embed', 'pics']; main()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == b"Interrupted; the same command continues where it stopped.\n"

"""`linnaeus serve` as a person runs it: REST for a file, a new version taken up, Ctrl-C."""

import base64
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from linnaeus.training.config import TrainConfig
from tests.end_to_end.conftest import BACKBONE, Loop, picture

pytestmark = pytest.mark.slow

SECONDS = 120


@contextmanager
def serving(loop: Loop, *models: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The command, and its port for REST."""
    command = [sys.executable, "-c", "from linnaeus.cli import main; main()", "serve", "--json"]
    command += [*(f"--model={one}" for one in models), "--port", "0", "--rest-api-port", "0"]
    command += ["--workspace", str(loop.root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(SECONDS, process.kill)
    watchdog.start()
    assert process.stdout is not None
    text = ""
    while not text.endswith("}\n") and (line := process.stdout.readline()):
        text += line
    said = json.loads(text)
    assert said["host"] == "127.0.0.1"
    try:
        yield process, said["rest_api_port"]
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def asked(port: int, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    url = f"http://127.0.0.1:{port}/v1/models/colours{path}"
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=30) as answer:
        return json.load(answer)


def test_files_are_labelled_new_versions_are_taken_up_and_an_interrupt_ends_it(loop: Loop):
    with serving(loop, "colours") as (process, port):
        file = base64.b64encode(picture("green", 900)).decode()
        answer = asked(port, ":predict", {"instances": [{"b64": file}]})
        assert answer["predictions"][0]["label"] == "green"
        assert asked(port, "/metadata")["model_spec"]["version"] == "1"
        loop.workspace.train(str(loop.bucket), "colours", TrainConfig(BACKBONE, head="linear"))
        give_up_at = time.monotonic() + 60
        while asked(port, "/metadata")["model_spec"]["version"] != "2":
            assert time.monotonic() < give_up_at
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in errors


def copy_the_version(loop: Loop) -> None:
    versions = loop.root / "models" / "colours"
    shutil.copytree(versions / "1", versions / "2")


def test_a_version_that_is_named_is_served_whatever_newer_ones_there_are(loop: Loop):
    copy_the_version(loop)
    with serving(loop, "colours:1") as (_, port):
        assert asked(port, "/metadata")["model_spec"]["version"] == "1"


def test_several_versions_of_a_model_can_be_named(loop: Loop):
    copy_the_version(loop)
    with serving(loop, "colours:1", "colours:2") as (_, port):
        states = asked(port, "")["model_version_status"]
    assert {one["version"]: one["state"] for one in states} == {
        "1": "AVAILABLE",
        "2": "AVAILABLE",
    }

"""The embedded server as a child process, so that its caller needs no TensorFlow in its own."""

import importlib.util
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from linnaeus.errors import ServingError
from linnaeus.process import stop
from linnaeus.storage import join, normalise
from serving.client import ScoringClient
from serving.model_server import ERROR, LISTENING

START_SECONDS = 180.0
"""TensorFlow alone takes up to ten seconds to import, more on a busy machine."""
STOP_SECONDS = 15.0


@contextmanager
def start_server(workspace: str, model: str, version: int) -> Iterator[str]:
    """Serve a model's version on a free port of this machine for the length of the context.

    The child is stopped by its process id, and ends by itself if this process dies.

    Yields:
        `127.0.0.1:PORT`, where the version is available, whatever newer ones are published.

    Raises:
        ServingError: the server does not start, with its own reason.
    """
    _check_installed()
    base_path = join(normalise(workspace), "models", model)
    with tempfile.TemporaryFile("w+") as log:
        process = _spawn(base_path, model, version, log)
        try:
            address = _address(process, log, model)
            _check_available(address, model, version)
            yield address
        finally:
            _stop(process)


def _check_installed() -> None:
    if importlib.util.find_spec("tensorflow_serving") is None:
        raise ServingError(
            "the embedded server is not installed here: `pip install linnaeus[serve]`,"
            " or name a running server by its address"
        )


def _spawn(base_path: str, model: str, version: int, log: IO[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "serving.model_server", "--port=0"]
    command += [f"--model_name={model}", f"--model_base_path={base_path}"]
    command += [f"--model_version={version}", f"--parent_pid={os.getpid()}"]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        # Ctrl-C is for the caller, who lets requests under way finish and then stops the child.
        start_new_session=True,
    )


def _address(process: subprocess.Popen[str], log: IO[str], model: str) -> str:
    """Wait for the line that says where the child listens; the models are loaded by then."""
    assert process.stdout is not None
    watchdog = threading.Timer(START_SECONDS, process.kill)
    watchdog.start()
    try:
        for line in process.stdout:
            if line.startswith(LISTENING):
                return line.removeprefix(LISTENING).strip()
    finally:
        watchdog.cancel()
    reason = _last_words(process.wait(), log)
    raise ServingError(f"the embedded server for model {model} did not start: {reason}")


def _last_words(status: int, log: IO[str]) -> str:
    log.seek(0)
    lines = log.read().strip().splitlines() or ["it said nothing"]
    if lines[-1].startswith(ERROR):
        return lines[-1].removeprefix(ERROR)
    return f"it ended with status {status}: {lines[-1]}"


def _check_available(address: str, model: str, version: int) -> None:
    with ScoringClient(address, channels=1, in_flight=1) as client:
        client.resolve_version(model, version)


def _stop(process: subprocess.Popen[str]) -> None:
    stop(process, STOP_SECONDS)
    if process.stdout:
        process.stdout.close()

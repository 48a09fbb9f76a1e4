"""The Compose file for a stock TensorFlow Serving: its command line, run here for real."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from linnaeus.storage import Folder
from linnaeus.training.evaluation.decisions import DecisionRule
from serving.model_server import LISTENING
from tests import colour_model
from tests.infra.dockerfiles import Dockerfile

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "serving"
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def service(**variables: str) -> dict[str, Any]:
    """The one service, with variables put in as Compose does it."""

    def value(match: re.Match[str]) -> str:
        name, kind, default = match.groups()
        if name in variables:
            return variables[name]
        assert kind == "-", f"{name} has no default"
        return default

    text = VARIABLE.sub(value, (FOLDER / "compose.yaml").read_text("utf-8"))
    [found] = yaml.safe_load(text)["services"].values()
    return found


def test_the_model_must_be_named():
    with pytest.raises(AssertionError, match="MODEL"):
        service()


def test_only_this_machine_reaches_it_unless_told_otherwise():
    assert service(MODEL="m")["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    assert service(MODEL="m", HOST="10.0.0.1")["ports"][0] == "10.0.0.1:8500:8500"


def test_the_container_may_change_nothing():
    found = service(MODEL="m")
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert not found["user"].startswith("0")
    assert all(volume.endswith(":ro") for volume in found["volumes"])


def on_this_machine(argument: str, volumes: dict[str, str]) -> str:
    """An argument with the container's folders as this machine's, and free ports."""
    for inside, outside in volumes.items():
        argument = argument.replace(f"={inside}", f"={outside}")
    return re.sub(r"_?port=\d+", lambda match: match[0].partition("=")[0] + "=0", argument)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A server with the command line of the Compose file, over a workspace's model."""
    workspace = Folder(str(tmp_path / "workspace"))
    colour_model.publish(workspace, DecisionRule(colour_model.LABELS))
    found = service(MODEL=colour_model.NAME, WORKSPACE=workspace.uri)
    volumes = {}
    for volume in found["volumes"]:
        outside, inside, _ = volume.split(":")
        volumes[inside] = os.path.normpath(FOLDER / outside)
    arguments = [on_this_machine(one, volumes) for one in found["command"]]
    arguments = [one for one in arguments if not one.startswith("--rest_api_port")]
    arguments.append(f"--rest_api_port={free_port()}")
    command = [sys.executable, "-m", "serving.model_server", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process
    process.terminate()
    process.communicate(timeout=60)


def free_port() -> int:
    import socket

    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@pytest.mark.slow
def test_its_command_line_serves_a_workspaces_model_and_scoring_only_changes_the_server(
    started: subprocess.Popen[str], tmp_path: Path
):
    assert started.stdout is not None
    lines = iter(started.stdout.readline, "")
    address = next(line for line in lines if line.startswith(LISTENING)).split()[-1]
    painted = colour_model.paint(tmp_path / "bucket")
    command = [sys.executable, "-c", "from linnaeus.cli import main; main()", "score"]
    command += [str(tmp_path / "bucket"), "--model", colour_model.NAME, "--server", address]
    command += ["--workspace", str(tmp_path / "workspace"), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(ended.stdout)["counts"]["done"] == len(painted)
    rest = next(word for word in next(lines).split() if word.startswith("127.0.0.1:"))
    metrics = f"http://{rest}/monitoring/prometheus/metrics"
    with urllib.request.urlopen(metrics, timeout=30) as answer:
        assert b':tensorflow:serving:request_count{model_name="colours"' in answer.read()
    for words in health_checks():
        assert status(words, rest.rpartition(":")[2], colour_model.NAME) == 0
        assert status(words, rest.rpartition(":")[2], "no-such-model") != 0
        assert status(words, str(free_port()), colour_model.NAME) != 0


def health_checks() -> list[list[str]]:
    """That of the Compose file, and that of the image with these settings."""
    of_image = Dockerfile(ROOT / "infra" / "docker" / "Dockerfile").last("server", "HEALTHCHECK")
    of_compose = service(MODEL="$MODEL")["healthcheck"]["test"]
    return [of_compose[1:], json.loads(of_image.text.partition("CMD ")[2])]


def status(words: list[str], port: str, model: str) -> int:
    """What a health check says of a server on this machine."""
    command = [word.replace("8501", port) for word in words]
    environment = {"PATH": os.defpath, "MODEL": model}
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=30, check=False)
    return ended.returncode

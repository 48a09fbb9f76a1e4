"""A model server's pod, whose containers are run here by their command lines of the Deployment."""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from linnaeus.models import DESCRIPTION, Model, ModelBackbone
from linnaeus.storage import Folder
from serving.model_server import LISTENING
from tests.infra.kubernetes.objects import Objects

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(900)]

MOUNTED = re.compile(r"(?<![\w/])/(models|tmp|etc)/")
PROGRAMS = {"tensorflow_model_server": ["-m", "serving.model_server"], "python": []}


class PodHere:
    """The pod's containers as processes: mounts are folders, and ports are free ones."""

    def __init__(self, objects: Objects, folder: Path) -> None:
        self.containers = objects.pods()["linnaeus-serving"].containers
        self.port = free_port()
        self._folder = folder
        for inside, config in (("models", "linnaeus-models"), ("server", "linnaeus-server")):
            (folder / "etc" / inside).mkdir(parents=True)
            for name, text in objects.config(config).items():
                (folder / "etc" / inside / name).write_text(self._here(text))
        (folder / "tmp").mkdir()

    def command(self, words: list[str]) -> list[str]:
        """Words of a container or a probe as this machine's."""
        program, *rest = [self._here(word) for word in words]
        return [sys.executable, *PROGRAMS[program], *rest]

    def _here(self, text: str) -> str:
        text = MOUNTED.sub(f"{self._folder}\\g<0>", text)
        text = text.replace("$(WORKSPACE)", f"{self._folder}/workspace")
        return text.replace("_port=8501", f"_port={self.port}").replace("--port=8500", "--port=0")

    @contextmanager
    def running(self, name: str) -> Iterator["subprocess.Popen[str]"]:
        one = self.containers[name]
        command = self.command([*one["command"], *one["args"]])
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=60)

    def is_well(self, name: str, kind: str) -> bool:
        """Whether a probe succeeds now."""
        probe = self.containers[name][kind]
        if "exec" in probe:
            return (
                subprocess.run(self.command(probe["exec"]["command"]), check=False).returncode == 0
            )
        try:
            return bool(self.asked(probe["httpGet"]["path"]))
        except OSError:
            return False

    def asked(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return answer.read()

    def served(self) -> set[str]:
        """Versions that the server answers with."""
        path = self.containers["server"]["readinessProbe"]["httpGet"]["path"]
        states = json.loads(self.asked(path))["model_version_status"]
        return {one["version"] for one in states if one["state"] == "AVAILABLE"}


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def wait_for(is_so: Callable[[], bool], seconds: float = 120) -> None:
    give_up_at = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up_at
        time.sleep(0.2)


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tensorflow as tf

    class Halves(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, x: Any) -> Any:
            return {"y": x / 2}

    folder = tmp_path_factory.mktemp("halves") / "model"
    module = Halves()
    tf.saved_model.save(module, str(folder), module.__call__)
    return folder


def publish(workspace: Folder, source: Path, version: int) -> None:
    model = Model("labels", version, ("a",), ModelBackbone("pixels@8", "0", 8, 8, 192))
    (source / DESCRIPTION).write_text(model.to_json())
    workspace.upload(source, model.prefix, last=[DESCRIPTION])


def test_the_pod_comes_up_with_the_first_version_and_serves_the_last_two(
    rendered: dict[str, Objects], halves: Path, tmp_path: Path
) -> None:
    pod = PodHere(rendered["aws"], tmp_path)
    workspace = Folder(f"{tmp_path}/workspace")
    pod.containers["mirror"]["args"].append("--every=0.5")
    with pod.running("mirror"):
        assert not pod.is_well("mirror", "startupProbe")
        publish(workspace, halves, 1)
        wait_for(lambda: pod.is_well("mirror", "startupProbe"))
        assert not pod.is_well("server", "startupProbe")
        with pod.running("server") as server:
            assert server.stdout is not None
            assert any(line.startswith(LISTENING) for line in server.stdout)
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                assert pod.is_well("server", kind)
            for version in (2, 3):
                publish(workspace, halves, version)
            wait_for(lambda: pod.served() == {"2", "3"})
            assert b":tensorflow:" in pod.asked("/monitoring/prometheus/metrics")
        assert pod.is_well("mirror", "livenessProbe")

"""`linnaeus score` as a process of its own, over local pictures and a local workspace."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from tests.faults.conftest import Labels, by_name

WAIT_SECONDS = 240.0
"""For anything that is to happen, on a machine that has much else to do."""
ROOT = Path(__file__).parents[2]
MAIN = "from linnaeus.cli import main; main()"
BROKEN_STREAM = "Exception in thread read_grpc_client_inputs:\nTraceback"
"""Now and then a thread of Beam's says so of a worker that died, before the launcher does."""
TWO_PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")


@dataclass(frozen=True)
class Desk:
    """A folder of pictures and a workspace of this machine, and a server with the model."""

    photos: Path
    root: Path
    server: str
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    """Commands that were begun."""

    def arguments(self, model: str = "colours", server: str = "") -> list[str]:
        """What the command line says after the program's name."""
        arguments = ["score", str(self.photos), "--model", model, "--workspace", str(self.root)]
        server = server or self.server
        return [*arguments, "--server", server, "--max-failures", "9", "--no-skew-gate", "--"]

    def start(
        self, *beam_options: str, model: str = "colours", server: str = "", **environment: str
    ) -> subprocess.Popen[str]:
        """Begin to score; what it says on standard error is kept."""
        process = subprocess.Popen(
            [sys.executable, "-c", MAIN, *self.arguments(model, server), *beam_options],
            env=os.environ | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def score(self, *beam_options: str, **environment: str) -> None:
        """Score, which is to go well."""
        status, said = ended(self.start(*beam_options, **environment))
        assert status == 0, said

    def rows(self, table: str) -> list[dict]:
        try:
            return DeltaTable(self.root / table).to_pyarrow_table().to_pylist()
        except TableNotFoundError:
            return []

    def labels(self, model: str = "colours") -> Labels:
        return by_name(self.rows(f"labels/{model}"), str(self.photos))

    def attempts(self) -> int:
        """How many shards were begun so far."""
        return len(list((self.root / "runs").glob("*/attempts/*")))

    def close(self) -> None:
        """Leave no command running."""
        for process in self.started:
            process.kill()
            process.wait()
            if process.stderr:
                process.stderr.close()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a command's end: its status, and the last line that it said."""
    try:
        _, said = process.communicate(timeout=WAIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    lines = said.strip().splitlines() or [""]
    assert "Traceback" not in said.replace(BROKEN_STREAM, ""), said
    return process.returncode, lines[-1]


def wait_until(true: Callable[[], object]) -> None:
    """Look again and again until something is the case."""
    until = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.01)


def patched(folder: Path, patch: str) -> dict[str, str]:
    """The environment in which each Python process begins with a patch, kept in a folder."""
    (folder / "patch").mkdir()
    (folder / "patch" / "sitecustomize.py").write_text(patch)
    paths = [str(folder / "patch"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def copy_of(published: Path, folder: Path) -> Path:
    """A workspace of its own with what is published."""
    return Path(shutil.copytree(published, folder, dirs_exist_ok=True))

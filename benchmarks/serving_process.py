"""The embedded server as a process of its own, whose memory can be read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.setting import MODEL
from serving.model_server import LISTENING

STOP_SECONDS = 30.0


@dataclass(frozen=True)
class ServerProcess:
    """Where it listens, and which process it is."""

    address: str
    pid: int

    def megabytes(self) -> float:
        """The memory that it holds now (`VmRSS`), in 10^6 bytes."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        kibibytes = next(line.split()[1] for line in lines if line.startswith("VmRSS"))
        return int(kibibytes) * 1024 / 1e6


@contextmanager
def model_server(base_path: Path, *flags: str) -> Iterator[ServerProcess]:
    """`python -m serving.model_server` over a folder of versions, on a free port."""
    command = [sys.executable, "-m", "serving.model_server", "--port=0", f"--model_name={MODEL}"]
    command += [f"--model_base_path={base_path}", f"--parent_pid={os.getpid()}", *flags]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        yield ServerProcess(_address(process), process.pid)
    finally:
        process.terminate()
        process.communicate(timeout=STOP_SECONDS)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(LISTENING):
            return line.removeprefix(LISTENING).strip()
    raise RuntimeError(f"serving.model_server ended with status {process.wait()}")

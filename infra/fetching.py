"""Fetching a runner once a machine, whole or not at all."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from linnaeus.errors import ConfigurationError

FETCH_SECONDS = 600


def fetch(folder: Path, fetch_into: Callable[[Path], None]) -> Path:
    """Fill a folder that is not there; two processes may try at the same time."""
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as started:
        fetched = Path(started) / folder.name
        fetched.mkdir()
        fetch_into(fetched)
        try:
            fetched.rename(folder)
        except OSError:
            if not folder.exists():  # else somebody was first
                raise
    return folder


def run(command: Sequence[str], remedy: str, environment: Mapping[str, str] | None = None) -> None:
    """Run a program that fetches.

    Raises:
        ConfigurationError: there is no such program, or it failed; its last words are the error's.
    """
    if shutil.which(command[0]) is None:
        raise ConfigurationError(f"there is no {command[0]}: {remedy}")
    settings = {**os.environ, **(environment or {})}
    try:
        ended = subprocess.run(
            command,
            env=settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigurationError(
            f"{command[0]} took over {FETCH_SECONDS} seconds: {remedy}"
        ) from error
    if ended.returncode:
        raise ConfigurationError(f"{command[0]} failed: {_reason(ended)}: {remedy}")


def _reason(ended: subprocess.CompletedProcess[str]) -> str:
    """The first line that says error, as Maven's last ones do not; else the last one."""
    lines = [line.strip() for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
    errors = (line for line in lines if "error" in line.lower())
    return next(errors, lines[-1] if lines else f"status {ended.returncode}")

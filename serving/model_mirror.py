"""Keeps a model's newest published versions in a local folder that a model server polls.

python -m serving.model_mirror --workspace URI --model NAME --folder DIR

TensorFlow Serving reads no S3, and takes up any numbered folder whole or not. So a version is
copied beside its place and renamed into it, and an older one goes only when all newer are there.
The folder is what the server knows as the model's base path.
"""

import argparse
import json
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from linnaeus import models
from linnaeus.errors import ConfigurationError, FailureCode, LinnaeusError, StorageError
from linnaeus.plain_text import one_line
from linnaeus.process import alone
from linnaeus.storage import Folder, flush, is_local

INCOMING = ".incoming"
LOCK = ".mirror.lock"
KEEP = 2
EVERY_SECONDS = 30.0


@dataclass(frozen=True)
class Change:
    """What one look at the workspace changed in the mirror."""

    copied: tuple[int, ...] = ()
    deleted: tuple[int, ...] = ()

    def __str__(self) -> str:
        parts = {"copied": self.copied, "deleted": self.deleted}
        return ", ".join(f"{word} {_numbers(those)}" for word, those in parts.items() if those)


@dataclass(frozen=True)
class Mirror:
    """A local folder that holds the newest versions of a workspace's model.

    One process at a time fills a folder; a second one waits for it.
    """

    workspace: Folder
    model: str
    folder: Path
    keep: int = KEEP

    def update(self) -> Change:
        """Copy the newest versions that are not there, oldest first, then delete all others.

        A version that is no longer published goes, too; but nothing goes where the workspace has no
        version at all, which is rather a mistake than a wish.

        Raises:
            StorageError: the workspace has no version of the model, or cannot be read.
            OSError: the folder cannot be written.
        """
        with alone(self.folder / LOCK):
            shutil.rmtree(self.folder / INCOMING, ignore_errors=True)
            wanted = models.versions(self.workspace, self.model)[-self.keep :]
            if not wanted:
                where = self.workspace.uri_of(models.model_prefix(self.model))
                raise StorageError(
                    f"no version is published in {where}: train one", FailureCode.NOT_FOUND
                )
            missing = tuple(sorted(set(wanted) - set(self.versions())))
            for version in missing:
                self._copy(version)
            return Change(missing, self._delete_all_but(wanted))

    def versions(self) -> list[int]:
        """The versions in the folder, ascending; each is whole."""
        found = [path.parent for path in self.folder.glob(f"*/{models.DESCRIPTION}")]
        return sorted(int(path.name) for path in found if _is_number(path.name))

    def _copy(self, version: int) -> None:
        self._free_place(version)
        incoming = self.folder / INCOMING / str(version)
        self.workspace.download(models.version_prefix(self.model, version), incoming)
        incoming.rename(self._free_place(version))
        flush(self.folder)

    def _free_place(self, version: int) -> Path:
        place = self.folder / str(version)
        if place.exists():
            raise ConfigurationError(
                f"{place} is in the way, not copied from here: remove it, or name another --folder"
            )
        return place

    def _delete_all_but(self, wanted: Sequence[int]) -> tuple[int, ...]:
        extra = tuple(sorted(set(self.versions()) - set(wanted)))
        for version in extra:
            # Out of the server's sight first: it must not find half of a version either.
            leaving = self.folder / INCOMING / f"deleted-{version}"
            leaving.parent.mkdir(exist_ok=True)
            (self.folder / str(version)).rename(leaving)
        shutil.rmtree(self.folder / INCOMING, ignore_errors=True)
        return extra


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _numbers(versions: Sequence[int]) -> str:
    word = "version" if len(versions) == 1 else "versions"
    return f"{word} {', '.join(map(str, versions))}"


@dataclass(frozen=True)
class Keeper:
    """Updates a mirror again and again, tells a person, and a health check by a file."""

    mirror: Mirror
    health: Path | None
    out: IO[str]

    def poll(self) -> bool:
        """Update once; trouble is a line, and False."""
        try:
            change = self.mirror.update()
        except (LinnaeusError, OSError) as error:
            line = " ".join(str(error).split())
            self._say(line)
            self._note(line)
            return False
        if text := str(change):
            self._say(text)
        self._note(None)
        return True

    def follow(self, every_seconds: float, stopping: threading.Event) -> None:
        """Update until told to stop, whatever goes wrong meanwhile."""
        while not stopping.is_set():
            self.poll()
            stopping.wait(every_seconds)

    def _say(self, line: str) -> None:
        print(f"{self.mirror.model}: {line}", file=self.out, flush=True)

    def _note(self, error: str | None) -> None:
        """Written after every look, so that its age says whether this process still goes on."""
        if self.health is None:
            return
        said = {
            "model": self.mirror.model,
            "versions": self.mirror.versions(),
            "error": error,
            "looked_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        written = self.health.with_name(f".{self.health.name}.partial")
        try:
            written.write_text(json.dumps(said) + "\n", "utf-8")
            written.replace(self.health)
        except OSError as problem:
            self._say(f"cannot write {self.health}: {problem.strerror}")


def is_healthy(health: Path, within_seconds: float) -> bool:
    """Whether somebody looked so lately, and a version is there to serve."""
    try:
        versions = json.loads(health.read_text("utf-8"))["versions"]
        age = time.time() - health.stat().st_mtime
    except (OSError, ValueError, LookupError, TypeError):
        return False
    return bool(versions) and abs(age) <= within_seconds  # from the future it says nothing


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a program.

    Returns:
        0 when all is done or the process was told to end; 1 if `--once` or `--check` found trouble;
        2 for wrong usage.
    """
    options = parse(argv)
    if options.check is not None:
        return 0 if is_healthy(options.check, options.within) else 1
    try:
        mirror = _mirror(options)
    except ConfigurationError as error:
        print(one_line(error), file=sys.stderr)
        return 2
    keeper = Keeper(mirror, options.health, sys.stderr)
    if options.once:
        return 0 if keeper.poll() else 1
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):  # the first process of a container has no others
        signal.signal(number, lambda *_: stopping.set())
    keeper.follow(options.every, stopping)
    return 0


def _mirror(options: argparse.Namespace) -> Mirror:
    missing = [name for name in ("workspace", "model", "folder") if not getattr(options, name)]
    if missing:
        raise ConfigurationError(f"--{missing[0]} is missing: see --help")
    if options.keep < 1 or options.every <= 0:
        raise ConfigurationError("--keep and --every must be above 0")
    models.check_name(options.model)
    workspace = Folder(options.workspace)
    if is_local(workspace.uri) and options.folder.resolve().is_relative_to(workspace.uri):
        # Old versions would be deleted where they are published.
        raise ConfigurationError(f"{options.folder} lies in the workspace: name another --folder")
    return Mirror(workspace, options.model, options.folder, options.keep)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; what is none of them prints the usage and ends the process."""
    parser = argparse.ArgumentParser(prog="serving.model_mirror", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--workspace", help="folder, s3://, gs:// or az:// root")
    parser.add_argument("--model", help="name of the model")
    parser.add_argument("--folder", type=Path, help="where its numbered versions go")
    parser.add_argument("--keep", type=int, default=KEEP, help="so many of the newest versions")
    parser.add_argument("--every", type=float, default=EVERY_SECONDS, help="seconds between looks")
    parser.add_argument("--once", action="store_true", help="one look; status 1 if it failed")
    parser.add_argument("--health", type=Path, help="JSON file, written after every look")
    parser.add_argument(
        "--check", type=Path, metavar="FILE", help="only say by the status whether FILE is healthy"
    )
    parser.add_argument(
        "--within", type=float, default=300.0, help="seconds a healthy file may be old"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())

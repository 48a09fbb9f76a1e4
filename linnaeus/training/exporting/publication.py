"""Gives a model its next version, whole or not at all, however many publish at once."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from linnaeus import layout, models
from linnaeus.errors import StorageError
from linnaeus.storage import Folder, flush, flush_tree, is_local

LAST = ("saved_model.pb", models.DESCRIPTION)
"""Uploaded after everything else: a server loads the one, a reader looks for the other."""


@dataclass(frozen=True)
class Draft:
    """A version that nobody sees yet."""

    version: int
    folder: Path
    """Local; what lies here when the context ends is published."""


@contextmanager
def publishing(workspace: Folder, name: str) -> Iterator[Draft]:
    """Claims the next version of a model; publishes its folder when the context ends well.

    An exception publishes nothing; the claimed number is then never used.

    Raises:
        StorageError: If the workspace cannot be written.
    """
    version = claim_version(workspace, name)
    publish = _by_rename if is_local(workspace.uri) else _by_upload
    with publish(workspace, name, version) as folder:
        yield Draft(version, folder)


def withdraw(workspace: Folder, name: str, version: int) -> None:
    """Takes a version back, so that servers go on with the one before; its number is not reused.

    Raises:
        StorageError: If the workspace cannot be written.
    """
    prefix = models.version_prefix(name, version)
    if not is_local(workspace.uri):
        for last in reversed(LAST):
            workspace.delete(f"{prefix}/{last}")
        for entry in list(workspace.list(prefix)):
            workspace.delete(entry.key)
        return
    home = Path(workspace.uri) / models.model_prefix(name)
    aside = home / f".withdrawn-{version}-{secrets.token_hex(4)}"
    try:
        (home / str(version)).rename(aside)
        shutil.rmtree(aside)
    except OSError as e:
        raise StorageError(f"cannot take {name}:{version} back in {home}: {e}") from e


def claim_version(workspace: Folder, name: str) -> int:
    """The next number, taken by a create-only write so that no one else gets it, ever.

    Numbers lie outside of the model's folder: who deletes that makes no number new again.
    """
    prefix = layout.version_claims(name)
    claimed = workspace.numbered(prefix, lambda number: f"{prefix}/{number}")
    version = max([*claimed, *models.versions(workspace, name)], default=0) + 1
    while not workspace.write_new(f"{prefix}/{version}", b""):
        version += 1
    return version


@contextmanager
def _by_rename(workspace: Folder, name: str, version: int) -> Iterator[Path]:
    """Stages beside the versions, where no server looks; a rename makes all of it visible."""
    home = Path(workspace.uri) / models.model_prefix(name)
    staging = home / f".staging-{version}-{secrets.token_hex(4)}"
    try:
        staging.mkdir(parents=True)
        yield staging
        flush_tree(staging)
        staging.rename(home / str(version))
        flush(home)
    except OSError as e:
        raise StorageError(
            f"cannot publish in {home}: {e}; look at the space and permissions there"
        ) from e
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def _by_upload(workspace: Folder, name: str, version: int) -> Iterator[Path]:
    with TemporaryDirectory(prefix="linnaeus-model-") as folder:
        yield Path(folder)
        workspace.upload(Path(folder), models.version_prefix(name, version), last=LAST)

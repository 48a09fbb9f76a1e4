"""The folder of a model's versions, as TensorFlow Serving reads a `model_base_path`."""

import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from linnaeus.storage import Entry, Folder, is_local, join


@dataclass(frozen=True)
class VersionPolicy:
    """`ServableVersionPolicy` of `config/file_system_storage_path_source.proto`.

    Args:
        most: this many of the highest versions at most; None for no limit.
        only: these versions and no others; None for any.
    """

    most: int | None = 1
    only: frozenset[int] | None = None

    def candidates(self, versions: Collection[int]) -> list[int]:
        """The versions that may be served, the most wanted first, before `most` cuts them."""
        return sorted((v for v in versions if self.only is None or v in self.only), reverse=True)


NEWEST = VersionPolicy()


def specific(*versions: int) -> VersionPolicy:
    """The policy that serves the versions named, all of them at once."""
    return VersionPolicy(most=None, only=frozenset(versions))


GRAPH = "saved_model.pb"
GRAPH_AS_TEXT = "saved_model.pbtxt"
TFLITE = "model.tflite"

_LARGEST = 2**63 - 1


class VersionFolder:
    """Finds versions under a base path and brings them to this disk.

    Args:
        uri: the base path.
        complete_with: a version that has one of these files is complete: publishers write it
            after everything that loading reads.
    """

    def __init__(self, uri: str, complete_with: Collection[str] = (GRAPH, GRAPH_AS_TEXT)) -> None:
        self._folder = Folder(uri)
        self._complete_with = complete_with
        self._cache: Path | None = None

    @property
    def uri(self) -> str:
        """The base path."""
        return self._folder.uri

    def is_there(self) -> bool:
        """Whether the base folder exists; an object store has no folder without an object."""
        if is_local(self.uri):
            return Path(self.uri).is_dir()
        return bool(self._folder.folders())

    def select(self, policy: VersionPolicy, known: Collection[int] = ()) -> list[int]:
        """The complete versions that a policy wants, highest first.

        Folders whose names are no integers are ignored; `known` versions were complete before
        and are not looked at again.

        Raises:
            StorageError: the folder cannot be listed.
        """
        names = self._names()
        complete = (
            version
            for version in policy.candidates(names)
            if version in known or self._is_complete(names[version])
        )
        return list(islice(complete, policy.most))

    def files(self, version: int) -> frozenset[Entry]:
        """What a version's folder holds now."""
        name = self._names().get(version)
        return frozenset(self._folder.list(name)) if name else frozenset()

    def fetch(self, version: int) -> Path:
        """A version's folder on the local disk; a remote one is downloaded.

        Raises:
            StorageError: it cannot be read.
        """
        name = self._names()[version]
        if is_local(self.uri):
            return Path(self.uri) / name
        if self._cache is None:
            self._cache = Path(tempfile.mkdtemp(prefix="linnaeus-versions-"))
        copy = self._cache / str(version)
        self._folder.download(name, copy)
        return copy

    def discard(self, version: int) -> None:
        """Delete what was downloaded of a version: once it is loaded its files are not read."""
        if self._cache is not None:
            shutil.rmtree(self._cache / str(version), ignore_errors=True)

    def close(self) -> None:
        """Delete whatever was downloaded."""
        if self._cache is not None:
            shutil.rmtree(self._cache, ignore_errors=True)
            self._cache = None

    def _names(self) -> dict[int, str]:
        """Version -> folder name: `00000123` is version 123."""
        return {int(name): name for name in self._folder.folders() if _is_version(name)}

    def _is_complete(self, name: str) -> bool:
        return any(self._folder.head(join(name, file)) for file in self._complete_with)


def _is_version(name: str) -> bool:
    digits = name.lstrip("0")
    return name.isascii() and name.isdecimal() and len(digits) <= 19 and int(name) <= _LARGEST

"""The folder of a model's versions, as TensorFlow Serving reads a `model_base_path`."""

import shutil
import tempfile
from pathlib import Path

from linnaeus.storage import Folder, is_local, join

GRAPH = "saved_model.pb"
"""What makes a version complete: publishers write it after everything that loading reads."""


class VersionFolder:
    """Finds the newest version under a base path (or `only` one) and brings it to this disk."""

    def __init__(self, uri: str, only: int | None = None) -> None:
        self._folder = Folder(uri)
        self._only = only
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

    def newest(self) -> int | None:
        """The highest complete version; folders whose names are no integers are ignored."""
        for version, name in sorted(self._names().items(), reverse=True):
            if self._folder.head(join(name, GRAPH)):
                return version
        return None

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
        return {
            int(name): name
            for name in self._folder.folders()
            if name.isascii() and name.isdecimal() and self._only in {None, int(name)}
        }

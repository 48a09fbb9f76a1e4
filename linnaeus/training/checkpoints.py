"""What an unfinished training has achieved, so that the same command goes on from there.

A training is known by a hash of everything that decides its result. Its folder in the workspace,
`training/<hash>/`, holds named arrays, each replaced as a whole, and is removed when the model is
published.
"""

import io
import json
import shutil
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from linnaeus.errors import ConfigurationError
from linnaeus.storage import Folder, is_local

ROOT = "training"
Arrays = Mapping[str, NDArray[Any]]


class Checkpoints(Protocol):
    """Where a trainer keeps what it has achieved, by name."""

    def load(self, name: str) -> Arrays | None:
        """What was saved last under that name; None where nothing was."""

    def save(self, name: str, arrays: Arrays) -> None:
        """Keep arrays under a name, in place of what is there."""


class NoCheckpoints:
    """Keeps nothing: a training that is killed begins again."""

    def load(self, name: str) -> Arrays | None:
        """Never anything."""
        return None

    def save(self, name: str, arrays: Arrays) -> None:
        """Forgotten."""


class StoredCheckpoints:
    """Keeps everything in the workspace."""

    def __init__(self, workspace: Folder, decisive: Mapping[str, Any]) -> None:
        self._workspace = workspace
        text = json.dumps(decisive, sort_keys=True, default=str)
        self.prefix = f"{ROOT}/{sha256(text.encode()).hexdigest()[:20]}"

    def load(self, name: str) -> Arrays | None:
        """What was saved last under that name; None where nothing was.

        Raises:
            ConfigurationError: If it is damaged.
            StorageError: If the workspace cannot be read.
        """
        key = self._key(name)
        data = self._workspace.read_or_none(key)
        if data is None:
            return None
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return dict(arrays)
        except Exception as e:  # zipfile, numpy and zlib each raise their own
            raise ConfigurationError(
                f"the checkpoint {self._workspace.uri_of(key)} is damaged: delete the folder "
                f"{self._workspace.uri_of(self.prefix)} to start this training again"
            ) from e

    def save(self, name: str, arrays: Arrays) -> None:
        """Keep arrays under a name, in place of what is there; readers see one or the other."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **dict(arrays))
        self._workspace.write(self._key(name), buffer.getvalue())

    def clear(self) -> None:
        """Remove all of it."""
        for entry in list(self._workspace.list(self.prefix)):
            self._workspace.delete(entry.key)
        if is_local(self._workspace.uri):
            shutil.rmtree(self._workspace.uri_of(self.prefix), ignore_errors=True)

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}.npz"

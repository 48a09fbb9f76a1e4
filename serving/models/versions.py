"""The versions of one model: the newest replaces the one before it once it is fit to serve."""

import gc
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import grpc

from linnaeus.errors import LinnaeusError
from serving.models.saved_models import SavedModel
from serving.models.version_folder import VersionFolder
from serving.models.warmup import warm_up
from serving.status import StatusError

LOAD_RETRIES = 5
LOAD_RETRY_SECONDS = 60.0

_log = logging.getLogger(__name__)


class State(IntEnum):
    """`ModelVersionStatus.State` of the protocol."""

    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionState:
    """Where a version stands, and why it failed if it did."""

    state: State
    code: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""


@dataclass(frozen=True)
class _Failure:
    tries: int
    at: float
    """On the monotonic clock, in seconds."""

    def may_retry(self) -> bool:
        waited = time.monotonic() - self.at
        return self.tries <= LOAD_RETRIES and waited >= LOAD_RETRY_SECONDS


class ModelVersions:
    """Keeps one model's newest version loaded; lookups are thread-safe and never wait.

    A new version is loaded and warmed up while the old one serves, then both serve, then the old
    one goes; requests that hold the old one finish on it. A version that fails to load is tried
    again after a minute, five times, and the old one serves on.
    """

    def __init__(self, folder: VersionFolder) -> None:
        self._folder = folder
        self._refreshing = threading.Lock()
        self._failures: dict[int, _Failure] = {}
        # Replaced as a whole, never changed: readers take no lock.
        self._loaded: Mapping[int, SavedModel] = {}
        self._states: Mapping[int, VersionState] = {}

    @property
    def loaded(self) -> Mapping[int, SavedModel]:
        """The versions that answer requests now."""
        return self._loaded

    @property
    def states(self) -> Mapping[int, VersionState]:
        """Every version ever tried, highest first."""
        return dict(sorted(self._states.items(), reverse=True))

    def refresh(self) -> None:
        """Look at the folder and serve its newest version.

        A missing folder keeps what is loaded; an empty one unloads it.

        Raises:
            LinnaeusError: the folder cannot be listed.
        """
        with self._refreshing:
            newest = self._folder.newest()
            if newest is None:
                self._unload_if_emptied()
            elif newest not in self._loaded and self._may_load(newest):
                self._switch_to(newest)

    def close(self) -> None:
        """Unload everything."""
        with self._refreshing:
            self._unload_all_but(None)
            self._folder.close()

    def _unload_if_emptied(self) -> None:
        if self._loaded and self._folder.is_there():
            self._unload_all_but(None)

    def _may_load(self, version: int) -> bool:
        failure = self._failures.get(version)
        return failure is None or failure.may_retry()

    def _switch_to(self, version: int) -> None:
        self._set_state(version, VersionState(State.LOADING))
        try:
            model = _load(self._folder, version)
        except Exception as error:  # whatever is wrong with it, the old one serves on
            _log.exception("cannot load version %d of %s", version, self._folder.uri)
            self._record_failure(version, error)
            return
        self._failures.pop(version, None)
        self._loaded = {**self._loaded, version: model}
        self._set_state(version, VersionState(State.AVAILABLE))
        _log.info("serving version %d of %s", version, self._folder.uri)
        self._unload_all_but(version)

    def _record_failure(self, version: int, error: Exception) -> None:
        before = self._failures.get(version)
        tries = before.tries + 1 if before else 1
        self._failures[version] = _Failure(tries, time.monotonic())
        code = error.code if isinstance(error, StatusError) else grpc.StatusCode.UNKNOWN
        self._set_state(version, VersionState(State.END, code, _message(error)))

    def _unload_all_but(self, version: int | None) -> None:
        old = [v for v in self._loaded if v != version]
        for v in old:
            self._set_state(v, VersionState(State.UNLOADING))
        self._loaded = {v: model for v, model in self._loaded.items() if v == version}
        for v in old:
            self._folder.discard(v)
            self._set_state(v, VersionState(State.END))
        if old:
            # TensorFlow's graphs are cycles, and some 30 MB of one wait for a collection of the
            # oldest generation, which hardly ever comes by itself.
            gc.collect()

    def _set_state(self, version: int, state: VersionState) -> None:
        self._states = {**self._states, version: state}


def _load(folder: VersionFolder, version: int) -> SavedModel:
    path = folder.fetch(version)
    model = SavedModel(path)
    replayed = warm_up(model, path)
    _log.info("loaded %s, %d warm-up requests", path, replayed)
    return model


def _message(error: Exception) -> str:
    if isinstance(error, StatusError | LinnaeusError):
        return str(error)
    return f"{type(error).__name__}: {error}"

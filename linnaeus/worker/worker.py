"""What one process holds for all the shards of a run; nothing is opened before it is used."""

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, Protocol

from linnaeus import backbones
from linnaeus.backbones import BackboneSpec
from linnaeus.engines import Engine, open_engine
from linnaeus.errors import ConfigurationError, LinnaeusError
from linnaeus.planning import RunSpec
from linnaeus.records import Prediction
from linnaeus.signatures import OF_PAYLOAD
from linnaeus.storage import Folder
from linnaeus.tables import EmbeddingTable, StoredContents

Answer = Prediction | LinnaeusError


class Scorer(Protocol):
    """A model server's client: (content, embedding or pixels or bytes) to (content, answer)."""

    def score(
        self, model: str, version: int, signature: str, rows: Iterable[tuple[str, Any]]
    ) -> Iterator[tuple[str, Answer]]:
        """Ask for each row once; answers come in any order."""

    def close(self) -> None:
        """End its connections."""


class Worker:
    """The run's engine and model server's client, in this process; safe to share by threads."""

    def __init__(
        self,
        workspace: Folder,
        run: RunSpec,
        engine: str = "auto",
        open_scorer: Callable[[], Scorer] | None = None,
    ) -> None:
        self.workspace, self.run = workspace, run
        self._engine_name, self._open_scorer = engine, open_scorer
        self._opening = threading.RLock()

    @cached_property
    def spec(self) -> BackboneSpec:
        """The run's backbone."""
        return backbones.load_spec(self.workspace, self.run.fingerprint)

    @cached_property
    def engine(self) -> Engine:
        """The backbone on this machine."""
        with self._opening:  # cached_property has a lock of its own only before Python 3.12
            return self._one_engine

    @cached_property
    def _one_engine(self) -> Engine:
        files = backbones.local_files(self.workspace, self.run.fingerprint)
        return open_engine(files, self.spec, self._engine_name)

    @cached_property
    def stored(self) -> StoredContents:
        """The contents whose vectors the table had when this was first asked for."""
        with self._opening:
            return self._one_stored

    @cached_property
    def _one_stored(self) -> StoredContents:
        return StoredContents(EmbeddingTable(self.workspace, self.run.fingerprint))

    @cached_property
    def _scorer(self) -> Scorer:
        with self._opening:
            return self._one_scorer

    @cached_property
    def _one_scorer(self) -> Scorer:
        if self._open_scorer is None:
            raise ConfigurationError("A scoring run needs a model server; name one by --server")
        return self._open_scorer()

    def score(self, rows: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Answer]]:
        """What the model says of each row's payload, in any order."""
        run = self.run
        return self._scorer.score(run.model, run.model_version, OF_PAYLOAD[run.payload], rows)

    def close(self) -> None:
        """End what was opened."""
        opened = vars(self)
        for resource in (opened.get("engine"), opened.get("_scorer")):
            if resource is not None:
                resource.close()

"""The two jobs: what each makes, whom it asks, and the words for it.

A job is what a command asks for, without the objects. Whatever differs between the two is said
here, so that nothing else asks which of them a run is of. A run's plan keeps the job's word, by
which `job_of` finds it again.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import ClassVar

import pyarrow as pa
from ulid import ULID

from linnaeus import layout
from linnaeus.errors import ConfigurationError
from linnaeus.planning.plans import RunSpec
from linnaeus.records import EMBEDDINGS, FAILURES, OBJECTS, PREDICTIONS


@dataclass(frozen=True)
class Job(ABC):
    """What both jobs have; a command asks for one of its two subclasses."""

    word: ClassVar[str]
    """In plans and summaries, and of the command that asks for it."""
    verb: ClassVar[str]
    """Title of a step that carries it out."""
    done_column: ClassVar[str]
    """Of `known_state.known`: whether it is done of an object."""
    asks_server: ClassVar[bool]
    """Whether a model server is needed, whose answers say what became of an object."""
    keeps_labels: ClassVar[bool]
    """Whether its commit replaces the current labels."""

    fingerprint: str
    """Of the backbone."""
    only: frozenset[str] | None = field(default=None, kw_only=True)
    """URIs that it is restricted to: others of the source are skipped. None: all of them."""
    retried_codes: frozenset[str] | None = field(default=None, kw_only=True)
    """Of a retry: failures with these codes are done again, and nothing else. None: no retry."""

    @property
    def computes_vectors(self) -> bool:
        """Whether stored vectors are used and missing ones made: not where pictures are sent."""
        return True

    @property
    def tables(self) -> dict[str, pa.Schema]:
        """Schemas of the tables that it writes, by key, in the order of their commits.

        What is referred to comes first. A part of the last one is a shard's receipt.
        """
        return {
            layout.embeddings(self.fingerprint): EMBEDDINGS,
            layout.FAILURES: FAILURES,
            layout.OBJECTS: OBJECTS,
        }

    @property
    def receipt_table(self) -> str:
        """The table whose part is written last, and so says that a shard is done."""
        return list(self.tables)[-1]

    @abstractmethod
    def left_alone(self, done: str) -> str:
        """SQL over the table `known`: what a retry does not try, `done` being what is done."""

    @abstractmethod
    def done_text(self, done: int, known: int = 0) -> str:
        """So many objects are done, `known` of them without computing a vector."""

    def new_run(self, source: str, manifest_id: str) -> RunSpec:
        """A run of it that has no plan yet."""
        of_job = {name: getattr(self, name) for name in _kept(type(self))}
        return RunSpec(
            run_id=str(ULID()), job=self.word, source=source, manifest_id=manifest_id, **of_job
        )

    def index(self, source: str) -> str:
        """Folder of the index where the job's runs over a source are numbered."""
        asked = [self.word, *(getattr(self, name) for name in _kept(type(self))), source]
        only = [] if self.only is None else [sorted(self.only)]
        again = [] if self.retried_codes is None else ["retry", *sorted(self.retried_codes)]
        identity = json.dumps([*asked, *only, *again])
        return layout.run_index(hashlib.sha256(identity.encode()).hexdigest()[:32])


@dataclass(frozen=True)
class EmbedJob(Job):
    """A vector of a backbone for each object."""

    word = "embed"
    verb = "Embed"
    done_column = "embedded"
    asks_server = False
    keeps_labels = False

    def left_alone(self, done: str) -> str:
        """What never failed is not tried either."""
        return f"({done} OR code IS NULL)"

    def done_text(self, done: int, known: int = 0) -> str:
        """`7 embedded (3 of known content)`."""
        return f"{done:,} embedded" + (f" ({known:,} of known content)" if known else "")


@dataclass(frozen=True)
class ScoreJob(Job):
    """Labels of a model version for each object."""

    word = "score"
    verb = "Score"
    done_column = "scored"
    asks_server = True
    keeps_labels = True

    model: str
    model_version: int
    payload: str
    """What is sent to the server: `embedding`, `pixels` or `image`."""
    task: str = "single"
    """The model's, which follows from its version."""
    trained_by: str = ""
    """`Model.identity`."""

    @property
    def computes_vectors(self) -> bool:
        """Where vectors are sent."""
        return self.payload == "embedding"

    @property
    def tables(self) -> dict[str, pa.Schema]:
        """And what the model said."""
        return {**super().tables, layout.predictions(self.model): PREDICTIONS}

    def left_alone(self, done: str) -> str:
        """Each object is labelled or failed: what failed and was embedded since has no code."""
        return done

    def done_text(self, done: int, known: int = 0) -> str:
        """`7 labelled`."""
        return f"{done:,} labelled"


def job_named(word: str) -> type[EmbedJob | ScoreJob]:
    """The job of that word.

    Raises:
        ConfigurationError: there is none.
    """
    jobs: dict[str, type[EmbedJob | ScoreJob]] = {one.word: one for one in (EmbedJob, ScoreJob)}
    if word not in jobs:
        raise ConfigurationError(f"there is no job {word!r}: choose {' or '.join(jobs)}")
    return jobs[word]


def job_of(run: RunSpec) -> EmbedJob | ScoreJob:
    """The job that a run is of, whole: a run does not say what it was restricted to."""
    kind = job_named(run.job)
    return kind(**{name: getattr(run, name) for name in _kept(kind)})


def _kept(kind: type[Job]) -> list[str]:
    """Fields that a run keeps."""
    return [one.name for one in fields(kind) if one.name not in {"only", "retried_codes"}]

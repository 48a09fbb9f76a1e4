"""What a command asks for: a job, and what may refuse its labels."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from ulid import ULID

from linnaeus import layout
from linnaeus.manifests import Manifest
from linnaeus.models import Model
from linnaeus.planning import RunSpec
from linnaeus.records import Counts

Gate = Callable[[str, Counts], None]
"""Looks at a run's id and its reconciled counts, churn included, before its labels replace others;
whatever must not be is refused by `GateFailed`.
"""


@dataclass(frozen=True)
class Job:
    """What a command asks for, without the objects: which job, by what."""

    name: str
    fingerprint: str
    model: str = ""
    model_version: int = 0
    payload: str = ""
    task: str = "single"
    """The model's, which follows from its version."""
    only: frozenset[str] | None = None
    """URIs that embedding is restricted to: others of the source are skipped. None: all of them."""
    retried_codes: frozenset[str] | None = None
    """Of a retry: failures with these codes are done again, and nothing else. None: no retry."""
    trained_by: str = ""
    """`Model.identity`."""

    @classmethod
    def scoring(cls, model: Model, payload: str) -> "Job":
        """Scoring by a model, of whatever images."""
        asked = cls("score", model.fingerprint, model.name, model.version, payload, model.task)
        return replace(asked, trained_by=model.identity)

    def spec(self, manifest: Manifest) -> RunSpec:
        """A run of it that has no plan yet."""
        return RunSpec(
            run_id=str(ULID()),
            job=self.name,
            source=manifest.source,
            manifest_id=manifest.id,
            fingerprint=self.fingerprint,
            model=self.model,
            model_version=self.model_version,
            payload=self.payload,
            task=self.task,
            trained_by=self.trained_by,
        )

    def index(self, source: str) -> str:
        """Folder of the index where the job's runs over a source are numbered."""
        model = [self.model, self.model_version, self.trained_by]
        asked = [self.name, self.fingerprint, *model, self.payload, source]
        only = [] if self.only is None else [sorted(self.only)]
        again = [] if self.retried_codes is None else ["retry", *sorted(self.retried_codes)]
        identity = json.dumps([*asked, *only, *again])
        return layout.run_index(hashlib.sha256(identity.encode()).hexdigest()[:32])

"""What a model says now: one row an object of each source's newest manifest.

A source's rows are replaced together, in one commit. The table's log notes, per source, the number
of the manifest and a hash of the model's identity, so an older manifest never replaces a newer
one's labels, whatever any clock says.
"""

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
from deltalake import DeltaTable
from duckdb import DuckDBPyConnection

from linnaeus import layout, manifests
from linnaeus.errors import ReconciliationError
from linnaeus.labels import churn
from linnaeus.manifests import Manifest
from linnaeus.planning import RunSpec
from linnaeus.records import FAILURES, LABELLED, LABELS, PREDICTIONS
from linnaeus.storage import Folder, map_store_errors
from linnaeus.tables import Sources, Table, database

_CURRENT = """
WITH said AS (
    SELECT position, max_by(predictions, scored_at) AS p
    FROM listed JOIN predictions USING (uri, etag) GROUP BY position
),
failed AS (
    SELECT position, max_by(failures, failed_at) AS f
    FROM listed JOIN failures USING (uri, etag)
    WHERE position NOT IN (SELECT position FROM said) GROUP BY position
)
SELECT listed.source, listed.uri, listed.etag, p.sha256,
    CASE WHEN p IS NOT NULL THEN 'labelled' WHEN f IS NOT NULL THEN 'failed' END AS status,
    p.label, p.confidence, p.labels, p.top_labels, p.top_scores,
    f.code, f.message,
    $model_version::BIGINT AS model_version,
    $trained_by AS trained_by,
    coalesce(p.run_id, f.run_id) AS run_id,
    coalesce(p.scored_at, f.failed_at) AS scored_at,
    $manifest_id AS manifest_id
FROM listed LEFT JOIN said USING (position) LEFT JOIN failed USING (position)
"""


@dataclass(frozen=True)
class LabelsTable:
    """The current labels of one model."""

    workspace: Folder
    model: str

    @property
    def table(self) -> Table:
        """The Delta table."""
        return Table(self.workspace, layout.labels(self.model), LABELS)

    def are_current(self, manifest: Manifest, trained_by: str, scored: int) -> bool:
        """Whether they are this model's, of this manifest or a newer one of its source.

        Of `scored` objects the model has said something; fewer are labelled where an object
        failed for this source and was scored as one of another since.
        """
        snapshot = self.table.load()
        if snapshot is None:
            return False
        number, model = _noted(snapshot, manifest.source)
        if number > manifest.number:
            return True
        of_source = pc.field("source") == manifest.source
        labelled = of_source & (pc.field("status") == LABELLED)
        same = (number, model) == (manifest.number, number_of(trained_by))
        with map_store_errors("read", self.table.uri):
            return same and snapshot.to_pyarrow_dataset().count_rows(filter=labelled) == scored

    def current(self, source: str) -> tuple[int, int]:
        """Number of the manifest and `number_of` the model whose labels a source has; else 0, 0."""
        snapshot = self.table.load()
        return (0, 0) if snapshot is None else _noted(snapshot, source)

    def are_of(self, trained_by: str) -> bool:
        """Whether any are, of whatever source, that model's."""
        snapshot = self.table.load()
        if snapshot is None:
            return False
        with map_store_errors("read", self.table.uri):
            of_model = pc.field("trained_by") == trained_by
            return bool(snapshot.to_pyarrow_dataset().count_rows(filter=of_model))

    def replace(
        self,
        manifest: Manifest,
        listed: Path,
        run: RunSpec,
        accept: Callable[[], None] = lambda: None,
    ) -> None:
        """Put the labels of a manifest's objects, listed in its file, in the place of its source's.

        Does nothing where a newer manifest's are there, or this run put them there already.
        What changes is recorded first, since nobody could tell afterwards; then `accept` may refuse
        it by an exception, and the labels stay as they were. Where other labels came meanwhile,
        both are done again, so nothing is replaced but what was judged.

        Raises:
            ReconciliationError: an object is neither labelled nor failed.
        """
        number_key, model_key = _keys(manifest.source)

        def done(snapshot: DeltaTable) -> bool:
            number, _ = _noted(snapshot, manifest.source)
            is_made = snapshot.transaction_version(run.run_id) is not None
            # Asked once the table is there, which `forget` therefore empties, or has not seen yet.
            return number > manifest.number or is_made or self._is_forgotten(manifest)

        def judge(snapshot: DeltaTable) -> None:
            with map_store_errors("read", self.table.uri):
                of_source = pc.field("source") == run.source
                before = self.table.scan(churn.BEFORE, of_source, snapshot)
                churn.record(self.workspace, connection, before, run.run_id)
            accept()

        with ExitStack() as stack:
            with map_store_errors("read", self.workspace.uri):
                connection = stack.enter_context(database(self._sources(listed, run)))
                _join(connection, run)
            self.table.replace(
                lambda: connection.table("current").to_arrow_reader().cast(LABELS),
                predicate=_of(manifest.source),
                versions={
                    number_key: manifest.number,
                    model_key: number_of(run.computed_by),
                    run.run_id: 1,
                },
                done=done,
                judge=judge,
            )

    def _is_forgotten(self, manifest: Manifest) -> bool:
        """Whether its source's images were said to be gone since it was listed."""
        last = manifests.newest(self.workspace, manifest.source)
        return last is not None and last.number > manifest.number and not last.objects

    def forget(self, manifest: Manifest) -> int:
        """Take a source's labels away, by its newest manifest, which is empty; how many they were.

        Runs of older manifests that are under way then replace nothing.
        """
        number_key, model_key = _keys(manifest.source)
        gone: int = self.table.dataset().count_rows(filter=pc.field("source") == manifest.source)
        self.table.replace(
            LABELS.empty_table().to_reader,
            predicate=_of(manifest.source),
            versions={number_key: manifest.number, model_key: 0},
            done=lambda snapshot: _noted(snapshot, manifest.source)[0] >= manifest.number,
            judge=lambda _: None,
        )
        return gone

    def _sources(self, listed: Path, run: RunSpec) -> Sources:
        predictions = Table(self.workspace, layout.predictions(run.model), PREDICTIONS)
        return {
            "listed": listed,
            "predictions": predictions.scan(where=pc.field("trained_by") == run.computed_by),
            "failures": Table(self.workspace, layout.FAILURES, FAILURES).scan(),
        }


def _join(connection: DuckDBPyConnection, run: RunSpec) -> None:
    """Make the table `current`, in which every object is labelled or failed."""
    known = {"model_version": run.model_version, "trained_by": run.computed_by}
    parameters = {**known, "manifest_id": run.manifest_id}
    connection.execute(f"CREATE TEMP TABLE current AS {_CURRENT}", parameters)
    [(missing, example)] = connection.execute(
        "SELECT count(*), min(uri) FROM current WHERE status IS NULL"
    ).fetchall()
    if missing:
        raise ReconciliationError(
            f"Run {run.run_id}: {missing} objects are neither labelled nor failed, such "
            f"as {example}; the labels stay as they were. Run the same command again"
        )


def _of(source: str) -> str:
    """SQL: the rows of a source."""
    return "source = '" + source.replace("'", "''") + "'"


def number_of(trained_by: str) -> int:
    """A model's identity as the table's log, which has room for whole numbers, notes it."""
    return int(hashlib.sha256(trained_by.encode()).hexdigest()[:15], 16)


def _keys(source: str) -> tuple[str, str]:
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    return f"manifest-of-{digest}", f"model-of-{digest}"


def _noted(snapshot: DeltaTable, source: str) -> tuple[int, int]:
    number, model = (snapshot.transaction_version(key) for key in _keys(source))
    return number or 0, model or 0

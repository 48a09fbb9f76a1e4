"""A run: its frozen plan, joined by whoever issues the same command, and its commit.

Runs of the same job, source, backbone or model and options are numbered by create-only entries in
an index, so two commands started at once share one run, and the next one begins only when the last
is committed.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial

from ulid import ULID

from linnaeus import churn, documents, layout, manifests, plans, run_endings, todo
from linnaeus.errors import ConfigurationError, GateFailed, ReconciliationError
from linnaeus.labels import LabelsTable
from linnaeus.manifests import Manifest
from linnaeus.models import Model
from linnaeus.parts import Part
from linnaeus.plans import RunSpec
from linnaeus.receipts import Receipt, ReceiptReader, receipt_table
from linnaeus.records import EMBEDDINGS, FAILURES, OBJECTS, PREDICTIONS, Counts
from linnaeus.shard_rows import decoder_of
from linnaeus.state import Question, known
from linnaeus.storage import Folder
from linnaeus.tables import Table

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


@dataclass(frozen=True)
class RunPlan:
    """What a run of a job would do."""

    draft: plans.Draft
    follows: int
    """Number of the job's newest run that was committed before the tables were read, or 0."""

    @property
    def spec(self) -> RunSpec:
        """The run."""
        return self.draft.spec


def open_run(workspace: Folder, job: Job, source: str) -> RunSpec | None:
    """The job's run over a source that is not committed, whether its owner is alive or not."""
    run_id = _newest(workspace, job.index(source))[1]
    if run_id is None or is_over(workspace, run_id):
        return None
    return plans.read_spec(workspace, run_id)


def _newest(workspace: Folder, index: str) -> tuple[int, str | None]:
    number = max(workspace.numbered(index, partial(layout.claim, index)), default=0)
    return number, claimed(workspace, layout.claim(index, number))


def claimed(workspace: Folder, claim: str) -> str | None:
    """The id of the run that an entry of the index names; None where there is no such entry."""
    return documents.read(
        workspace, claim, "delete it", lambda data: str(ULID.from_str(data.decode()))
    )


def is_over(workspace: Folder, run_id: str) -> bool:
    """Whether a run that was claimed has ended; one whose plan or manifest was deleted has, too."""
    has_ended = workspace.head(layout.summary(run_id)) is not None
    if has_ended or workspace.head(layout.plan(run_id)) is None:
        return True
    return not manifests.exists(workspace, plans.read_spec(workspace, run_id).manifest_id)


def _newest_committed(workspace: Folder, index: str) -> int:
    """Runs begin only when the last one is committed, so at most the newest is not."""
    number, run_id = _newest(workspace, index)
    return number if run_id is None or is_over(workspace, run_id) else number - 1


def make_plan(workspace: Folder, job: Job, manifest: Manifest) -> RunPlan:
    """Hold a manifest against the tables. Nothing is written to the workspace."""
    follows = _newest_committed(workspace, job.index(manifest.source))
    spec = job.spec(manifest)
    reuses = job.payload in ("", "embedding")
    question = Question(
        what=spec.what,
        decoder=decoder_of(spec),
        fingerprint=job.fingerprint if reuses else None,
        model=job.model or None,
    )
    with (
        manifests.local_file(workspace, manifest.id) as listed,
        known(workspace, listed, question) as connection,
    ):
        found = todo.judge(connection, job.name, job.only, job.retried_codes)
        spec = replace(
            spec,
            skipped=found.up_to_date,
            known_failures=found.given_up,
            after=found.last_failed_at,
        )
        return RunPlan(plans.Draft(spec, todo.shards(connection, found)), follows)


def create_run(workspace: Folder, job: Job, plan: RunPlan) -> RunSpec:
    """Freeze the plan and claim the job's next number; whoever lost the race joins the winner.

    A winner that is committed meanwhile is joined too: its work would be done twice by this plan.
    """
    spec = plan.spec
    workspace.write_new_file(layout.plan(spec.run_id), plan.draft.path)
    claim = layout.claim(job.index(spec.source), plan.follows + 1)
    if workspace.write_new(claim, spec.run_id.encode()):
        return spec
    winner = workspace.read(claim).decode()
    if winner != spec.run_id:  # else an object store repeated a request whose answer was lost
        workspace.delete(layout.plan(spec.run_id))
    return plans.read_spec(workspace, winner)


def commit(
    workspace: Folder, run_id: str, reader: ReceiptReader | None = None, gate: Gate | None = None
) -> Counts:
    """Make a finished run's rows visible, all of a table's at once; again does nothing.

    Args:
        workspace: where the run is.
        run_id: the run.
        reader: has read receipts of it already, which are not read again.
        gate: may refuse the labels of a scoring run, which is then given up: what was computed
            stays in the tables, and the next run plans anew.

    Returns:
        The reconciled counts of the run.

    Raises:
        ConfigurationError: there is no such run, or it was given up.
        ReconciliationError: shards are missing or counts do not add up; nothing is committed.
        GateFailed: by the gate; the labels stay as they were.
    """
    if workspace.head(layout.summary(run_id)):
        return run_endings.counts_of(workspace, run_id)
    if workspace.head(layout.plan(run_id)) is None:
        raise ConfigurationError(
            f"There is no run {run_id} in {workspace.uri}; see linnaeus status"
        )
    run = plans.read_spec(workspace, run_id)
    receipts = _receipts(run, reader or ReceiptReader(workspace, run))
    manifest = manifests.describe(workspace, run.manifest_id)
    counts = _reconcile(run, manifest, [receipt for receipt, _ in receipts])
    for table in tables_of(workspace, run):
        table.append(list(_parts_of(table, run, receipts)), run_id)
    if run.job == "score":
        _replace_labels(workspace, run, counts, gate)
        counts = _with_churn(workspace, run_id, counts)
    return run_endings.end_as_committed(workspace, run, counts)


def _replace_labels(workspace: Folder, run: RunSpec, counts: Counts, gate: Gate | None) -> None:
    def accept() -> None:
        if gate:
            gate(run.run_id, _with_churn(workspace, run.run_id, counts))

    manifest = manifests.describe(workspace, run.manifest_id)
    labels = LabelsTable(workspace, run.model)
    try:
        with manifests.local_file(workspace, run.manifest_id) as listed:
            labels.replace(manifest, listed, run, accept)
    except GateFailed as refusal:
        labels.table.append([], run.run_id)  # whoever commits it at this moment replaces nothing
        counts = _with_churn(workspace, run.run_id, counts)
        run_endings.give_up(workspace, run.run_id, f"a gate refused its labels: {refusal}", counts)
        raise


def _with_churn(workspace: Folder, run_id: str, counts: Counts) -> Counts:
    return replace(counts, **asdict(churn.of_run(workspace, run_id)))


def _receipts(run: RunSpec, reader: ReceiptReader) -> list[tuple[Receipt, Part]]:
    arrivals = reader.look()
    missing = sorted(set(range(len(run.shard_sizes))) - {a.receipt.shard for a in arrivals})
    if missing:
        raise ReconciliationError(
            f"Run {run.run_id}: {len(missing)} of {len(run.shard_sizes)} shards are not done, such "
            f"as {missing[0]}; nothing is committed. Run the same command again to do them"
        )
    return [(arrival.receipt, arrival.part) for arrival in arrivals]


def _reconcile(run: RunSpec, manifest: Manifest, receipts: list[Receipt]) -> Counts:
    counts = sum((receipt.counts for receipt in receipts), Counts())
    wrong = [
        receipt.shard
        for receipt in receipts
        if receipt.counts.planned != run.shard_sizes[receipt.shard]
        or receipt.counts.planned != receipt.counts.done + receipt.counts.failed
    ]
    listed = run.planned + run.skipped + run.known_failures
    if wrong or counts.planned != run.planned or listed != manifest.objects:
        raise ReconciliationError(
            f"Run {run.run_id}: of {manifest.objects} objects {run.planned} were planned and "
            f"{run.skipped + run.known_failures} skipped; {counts.done} are done and "
            f"{counts.failed} failed; shards that do not add up: {wrong}; nothing is committed"
        )
    return replace(counts, skipped=run.skipped, known_failures=run.known_failures)


def tables_of(workspace: Folder, run: RunSpec) -> Iterator[Table]:
    """The run's tables in the order of their commits: what is referred to comes first."""
    yield Table(workspace, layout.embeddings(run.fingerprint), EMBEDDINGS)
    yield Table(workspace, layout.FAILURES, FAILURES)
    yield Table(workspace, layout.OBJECTS, OBJECTS)
    if run.job == "score":
        yield Table(workspace, layout.predictions(run.model), PREDICTIONS)


def _parts_of(table: Table, run: RunSpec, receipts: list[tuple[Receipt, Part]]) -> Iterator[Part]:
    for receipt, last in receipts:
        part = last if table.key == receipt_table(run) else receipt.parts.get(table.key)
        if part and part.rows:
            yield part

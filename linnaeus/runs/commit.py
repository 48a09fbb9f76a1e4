"""The commit of a run: a function of its parts, repeatable at any time."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

from linnaeus import layout, manifests
from linnaeus.errors import ConfigurationError, GateFailed, ReconciliationError
from linnaeus.labels import LabelsTable, churn
from linnaeus.manifests import Manifest
from linnaeus.planning import RunSpec, job_of, plans
from linnaeus.records import Counts
from linnaeus.runs import endings
from linnaeus.storage import Folder
from linnaeus.tables import Part, Table
from linnaeus.worker import Receipt, ReceiptReader

Gate = Callable[[str, Counts], None]
"""Looks at a run's id and its reconciled counts, churn included, before its labels replace others;
whatever must not be is refused by `GateFailed`.
"""


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
        return endings.counts_of(workspace, run_id)
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
    if job_of(run).keeps_labels:
        _replace_labels(workspace, run, counts, gate)
        counts = _with_churn(workspace, run_id, counts)
    return endings.end_as_committed(workspace, run, counts)


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
        endings.give_up(workspace, run.run_id, f"a gate refused its labels: {refusal}", counts)
        raise


def _with_churn(workspace: Folder, run_id: str, counts: Counts) -> Counts:
    return replace(counts, **asdict(churn.of_run(workspace, run_id)))


def _receipts(run: RunSpec, reader: ReceiptReader) -> list[tuple[Receipt, Part]]:
    arrivals = reader.poll()
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
    """The run's tables in the order of their commits."""
    for key, schema in job_of(run).tables.items():
        yield Table(workspace, key, schema)


def _parts_of(table: Table, run: RunSpec, receipts: list[tuple[Receipt, Part]]) -> Iterator[Part]:
    is_last = table.key == job_of(run).receipt_table
    for receipt, last in receipts:
        part = last if is_last else receipt.parts.get(table.key)
        if part and part.rows:
            yield part

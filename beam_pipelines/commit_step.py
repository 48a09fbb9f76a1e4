"""The last step of a pipeline whose launcher does not wait for it: commit the run."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import apache_beam as beam

from linnaeus import models
from linnaeus.jobs import commit_run
from linnaeus.labels import LabelFiles, LabelsTable, written_by
from linnaeus.planning import plans
from linnaeus.records import Counts
from linnaeus.storage import Folder


@dataclass(frozen=True)
class Ending:
    """What is left of a run when all its shards are done."""

    workspace: str
    run_id: str
    output: str = ""
    """Where a scoring run's labels are also written as plain files; empty: nowhere."""
    format: str = "parquet"


def end_run(ending: Ending) -> Counts:
    """Commit a run and write its plain files; again does nothing.

    Raises:
        ReconciliationError: shards are missing or counts do not add up; nothing is committed.
    """
    workspace = Folder(ending.workspace)
    counts = commit_run(workspace, ending.run_id).counts
    if ending.output:
        run = plans.read_spec(workspace, ending.run_id)
        model = models.load_model(workspace, run.named, run.trained_by)
        facts = {**written_by(model), "run_id": run.run_id, "counts": asdict(counts)}
        files = LabelFiles(Folder(ending.output), ending.format)
        files.write(LabelsTable(workspace, run.model), run.source, facts)
    return counts


class CommitRun(beam.PTransform):
    """From the receipts of all shards to the run's counts (JSON), when it is committed.

    Counting the receipts is only how a step comes to wait for all of another: which shards are done
    is read from storage. Runners may do it twice, as a commit may be.
    """

    def __init__(self, ending: Ending) -> None:
        super().__init__()
        self._ending = ending

    def expand(self, receipts: beam.PCollection) -> beam.PCollection:
        """Apply to the PCollection of receipts, which may be empty."""
        return (
            receipts
            | "Wait for all shards" >> beam.combiners.Count.Globally()
            | "Commit" >> beam.ParDo(_EndRun(self._ending))
        )


class _EndRun(beam.DoFn):
    def __init__(self, ending: Ending) -> None:
        self._ending = ending

    def process(self, _receipts: int) -> Iterator[str]:
        yield json.dumps(asdict(end_run(self._ending)))

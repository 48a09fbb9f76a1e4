"""Carrying a job out: join what is unfinished, plan what is new, have it executed, commit.

Who executes is a parameter: a Beam pipeline, or `InThisProcess`, its plain twin.
"""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Protocol

from linnaeus import maintenance, runs
from linnaeus.labels import LabelsTable
from linnaeus.manifests import Manifest
from linnaeus.planning import Job, RunSpec, job_of
from linnaeus.progress import Progress
from linnaeus.records import Counts
from linnaeus.runs import Gate
from linnaeus.status import reported, tell_handed_over
from linnaeus.storage import Folder
from linnaeus.worker import ReceiptReader, Worker, do_shard


class Executor(Protocol):
    """Who does the shards of a run."""

    def get_ready(self, run: RunSpec) -> None:
        """Start what the run needs, before a new one is made: what fails here leaves none."""

    def execute(self, run: RunSpec) -> None:
        """Do the shards that are not done; return when all are."""


@dataclass(frozen=True)
class RunSummary:
    """How a job ended; `run_id` is None where there was nothing to do."""

    run_id: str | None
    job: str
    source: str
    manifest_id: str
    objects: int
    counts: Counts
    seconds: float
    working_seconds: float = 0.0
    """Those in which shards were done; getting ready for them takes the rest, however many."""
    output: str | None = None
    committed: bool = True
    """False: the run's pipeline commits it, or `linnaeus commit`; its counts only say the plan."""
    joined: Counts = field(default_factory=Counts)
    """Of unfinished runs of older manifests, done first; `counts` has their new failures, too."""


@dataclass(frozen=True)
class InThisProcess:
    """Executes shard after shard, without Beam."""

    open_worker: Callable[[RunSpec], Worker]

    def get_ready(self, run: RunSpec) -> None:
        """Nothing to start."""

    def execute(self, run: RunSpec) -> None:
        """Do the shards, one after the other."""
        with closing(self.open_worker(run)) as worker:
            for number in range(len(run.shard_sizes)):
                do_shard(worker, number)


def run_job(  # noqa: PLR0913, PLR0917 - where, what, of what, by whom, and two who are told
    workspace: Folder,
    job: Job,
    manifest: Manifest,
    executor: Executor,
    progress: Progress,
    gate: Gate | None = None,
) -> RunSummary:
    """Bring the tables up to date with a manifest, however often this was begun before.

    Raises:
        ReconciliationError: the run's counts do not add up; it is not committed.
        GateFailed: by the gate; labels stay as they were, and the run is given up.
    """
    started = time.perf_counter()
    counts, run, joined, working_seconds = Counts(), None, Counts(), 0.0
    while run is None or run.manifest_id != manifest.id:
        joined += counts
        if begun := runs.open_run(workspace, job, manifest.source):
            executor.get_ready(begun)
        else:
            plan = runs.make_plan(workspace, job, manifest)
            if not plan.spec.planned and is_current(workspace, job, manifest, plan.spec.skipped):
                counts = Counts(skipped=plan.spec.skipped, known_failures=plan.spec.known_failures)
                break
            executor.get_ready(plan.spec)
            begun = runs.create_run(workspace, job, plan)
        ready = time.perf_counter()
        run, counts = begun, _carry_out(workspace, begun, executor, progress, gate)
        working_seconds += time.perf_counter() - ready
    if run:
        maintenance.after_run(workspace, run, progress)
    return RunSummary(
        run_id=run.run_id if run else None,
        job=job.word,
        source=manifest.source,
        manifest_id=manifest.id,
        objects=manifest.objects,
        counts=replace(counts, new_failures=counts.new_failures + joined.new_failures),
        seconds=time.perf_counter() - started,
        working_seconds=working_seconds,
        joined=joined,
    )


def submit_job(workspace: Folder, job: Job, manifest: Manifest, executor: Executor) -> RunSummary:
    """Hand the job's next run to an executor that leaves it before its end, and has it committed.

    An unfinished run is handed over again before anything new is planned. A run is made even where
    nothing is to do: whoever launches a template expects a job.
    """
    started = time.perf_counter()
    if run := runs.open_run(workspace, job, manifest.source):
        executor.get_ready(run)
    else:
        plan = runs.make_plan(workspace, job, manifest)
        executor.get_ready(plan.spec)
        run = runs.create_run(workspace, job, plan)
    tell_handed_over(workspace, run)
    executor.execute(run)
    return RunSummary(
        run_id=run.run_id,
        job=job.word,
        source=manifest.source,
        manifest_id=run.manifest_id,
        objects=run.planned + run.skipped + run.known_failures,
        counts=Counts(planned=run.planned, skipped=run.skipped, known_failures=run.known_failures),
        seconds=time.perf_counter() - started,
        committed=False,
    )


def is_current(workspace: Folder, job: Job, manifest: Manifest, scored: int) -> bool:
    """Whether nothing but the planned objects is to do: a score also keeps labels current."""
    run = job.new_run(manifest.source, manifest.id)
    if not job.keeps_labels or job.retried_codes is not None:
        return True
    return LabelsTable(workspace, run.model).are_current(manifest, run.computed_by, scored)


def _carry_out(
    workspace: Folder, run: RunSpec, executor: Executor, progress: Progress, gate: Gate | None
) -> Counts:
    started = time.perf_counter()
    receipts = ReceiptReader(workspace, run)
    with progress.step(job_of(run).verb, run.planned) as step:
        with reported(workspace, run, receipts, step) as report:
            executor.execute(run)
            counts = runs.commit(workspace, run.run_id, receipts, gate)
        step.update(run.planned, counts.failed, report.seen().figures)
        step.note(_done_line(run, counts, time.perf_counter() - started))
    return counts


def _done_line(run: RunSpec, counts: Counts, seconds: float) -> str:
    facts = [job_of(run).done_text(counts.done, counts.done - counts.embedded)]
    facts += [f"{counts.failed:,} failed", f"{counts.skipped:,} up to date"]
    if counts.known_failures:
        facts.append(f"{counts.known_failures:,} known failures")
    rate = counts.planned / seconds if seconds else 0.0
    return f"{', '.join(facts)}; {seconds:.1f} s, {rate:,.0f} images/s"

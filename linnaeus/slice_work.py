"""Doing the shards of one slice of a frozen run, in this process and without a word to the others.

Each shard's parts are create-only, so a slice may be done twice, at the same time as others, by
another count of slices or after a death: what is done is not done again, and nothing counts twice.
"""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from linnaeus import named_runs, plans
from linnaeus.errors import ConfigurationError
from linnaeus.named_runs import FrozenRun
from linnaeus.plans import RunSpec
from linnaeus.progress import SILENT, Progress, Step, count_text
from linnaeus.receipts import receipts_listed
from linnaeus.records import Counts
from linnaeus.run_reporting import tell_handed_over, write_seconds
from linnaeus.shards import do_shard
from linnaeus.slices import Slice, shards_of
from linnaeus.storage import Folder
from linnaeus.worker import Worker

OpenWorker = Callable[[RunSpec], Worker]
_VERBS = {"embed": "Embed", "score": "Score"}
_DONE = {"embed": "embedded", "score": "labelled"}


@dataclass(frozen=True)
class SliceSummary:
    """What became of a slice; the run is committed by somebody else, when all slices are done."""

    plan: str
    run_id: str | None
    job: str
    slice: str
    shards: int
    """Of the slice."""
    shards_done_before: int
    counts: Counts
    """Of the shards that were done now."""
    over: bool
    """Whether there was nothing to do in the whole run, or it was committed before."""
    seconds: float


def find(workspace: Folder, plan: str, job: str) -> FrozenRun:
    """The frozen run of that name or id, which must be of that job.

    Raises:
        ConfigurationError: there is none, or it is of the other job.
    """
    frozen = named_runs.load(workspace, plan)
    if frozen.job != job:
        raise ConfigurationError(
            f"Plan {plan} is to {frozen.job}: linnaeus {frozen.job} --plan {plan} does its slices"
        )
    return frozen


def do_slice(
    workspace: Folder,
    frozen: FrozenRun,
    one: Slice,
    open_worker: OpenWorker,
    progress: Progress = SILENT,
) -> SliceSummary:
    """Do the shards of a slice that are not done.

    Args:
        workspace: where the run is.
        frozen: the run.
        one: the slice.
        open_worker: opens what the shards need; not called where all are done.
        progress: where the slice is shown.

    Raises:
        ConfigurationError: the run was given up, or is gone.
        StorageError: the workspace cannot be read or written.
        ServingError: the model server cannot be reached.
    """
    started = time.perf_counter()
    counts, shards, todo = Counts(), shards_of(one, frozen.shards), list[int]()
    over = named_runs.is_over(workspace, frozen)
    if frozen.run_id is not None and not over:
        run = plans.read_spec(workspace, frozen.run_id)
        done = receipts_listed(workspace, run)
        todo = [number for number in shards if number not in done]
        counts = _do(_Slice(workspace, run, one, todo), open_worker, progress)
    return SliceSummary(
        plan=frozen.plan,
        run_id=frozen.run_id,
        job=frozen.job,
        slice=str(one),
        shards=len(shards),
        shards_done_before=len(shards) - len(todo),
        counts=counts,
        over=over,
        seconds=time.perf_counter() - started,
    )


@dataclass(frozen=True)
class _Slice:
    workspace: Folder
    run: RunSpec
    one: Slice
    todo: list[int]


def _do(work: _Slice, open_worker: OpenWorker, progress: Progress) -> Counts:
    if not work.todo:
        return Counts()
    run = work.run
    with closing(open_worker(run)) as worker:
        objects = sum(run.shard_sizes[number] for number in work.todo)
        with progress.step(f"{_VERBS[run.job]} slice {work.one}", objects) as step:
            counts = _do_shards(work, worker, step)
            step.note(
                f"{counts.done:,} {_DONE[run.job]}, {counts.failed:,} failed in "
                f"{count_text(len(work.todo), 'shards')}"
            )
    return counts


def _do_shards(work: _Slice, worker: Worker, step: Step) -> Counts:
    counts, heard_at = Counts(), float("-inf")
    for number in work.todo:
        if time.monotonic() - heard_at > write_seconds(work.workspace):
            tell_handed_over(work.workspace, work.run)
            heard_at = time.monotonic()
        counts += do_shard(worker, number).counts
        step.update(counts.done + counts.failed, counts.failed)
    return counts

"""Doing the shards of one slice of a frozen run, in this process and without a word to the others.

Each shard's parts are create-only, so a slice may be done twice, at the same time as others, by
another count of slices or after a death: what is done is not done again, and nothing counts twice.
"""

import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

from linnaeus.errors import ConfigurationError
from linnaeus.jobs import frozen_runs
from linnaeus.jobs.frozen_runs import FrozenRun
from linnaeus.planning import Job, RunSpec, job_of, plans
from linnaeus.progress import SILENT, Progress, Step, count_text
from linnaeus.records import Counts
from linnaeus.status import tell_handed_over, write_seconds
from linnaeus.storage import Folder
from linnaeus.worker import Worker, do_shard, receipts_listed

INDEX_VARIABLES = ("AWS_BATCH_JOB_ARRAY_INDEX", "JOB_COMPLETION_INDEX", "CLOUD_RUN_TASK_INDEX")
"""Where AWS Batch, Kubernetes and Cloud Run put a process's number, which counts from 0."""

COUNT_VARIABLES = ("LINNAEUS_SLICES", "CLOUD_RUN_TASK_COUNT")

_FORM = re.compile(r"(auto|[0-9]{1,9})(?:/([0-9]{1,9}))?")


@dataclass(frozen=True)
class Slice:
    """The `index`-th of `count` slices, from 1."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse(text: str, environment: Mapping[str, str] = os.environ) -> Slice:
    """A slice from `3/16`, `auto/16` (which of them says the environment), or `auto` alone.

    Raises:
        ConfigurationError: it is none of these, or the environment does not say what it should.
    """
    form = _FORM.fullmatch(text.strip())
    if not form or (form[1] != "auto" and not form[2]):
        raise ConfigurationError(
            f"--slice {text}: write 3/16 for the third of sixteen, or auto/16 where the "
            "environment says which"
        )
    count = int(form[2]) if form[2] else _from_environment(text, COUNT_VARIABLES, environment)
    if form[1] == "auto":
        return _automatic(text, count, environment)
    if not 1 <= int(form[1]) <= count:
        raise ConfigurationError(
            f"--slice {text}: slices are numbered from 1/{count} to {count}/{count}"
        )
    return Slice(int(form[1]), count)


def _automatic(text: str, count: int, environment: Mapping[str, str]) -> Slice:
    index = _from_environment(text, INDEX_VARIABLES, environment)
    if index >= count:
        name = _set_among(INDEX_VARIABLES, environment)
        raise ConfigurationError(
            f"--slice {text}: {name} is {index}, which counts from 0, but there are only {count} "
            "slices: start as many processes as slices"
        )
    return Slice(index + 1, count)


def _from_environment(text: str, names: tuple[str, ...], environment: Mapping[str, str]) -> int:
    name = _set_among(names, environment)
    if name is None:
        remedy = "write 3/16" if names is INDEX_VARIABLES else "write auto/16"
        raise ConfigurationError(
            f"--slice {text}: none of {', '.join(names)} is set: {remedy} or so, or set one"
        )
    value = environment[name]
    if not (value.isascii() and value.isdigit()):
        raise ConfigurationError(f"--slice {text}: {name} is {value!r}, which is no number")
    return int(value)


def _set_among(names: tuple[str, ...], environment: Mapping[str, str]) -> str | None:
    return next((name for name in names if environment.get(name)), None)


def shards_of(one: Slice, shards: int) -> range:
    """The shards of a slice, spread over the run; none where there are more slices than shards.

    Shards of a run differ: those that only read stored vectors come first.
    """
    return range(one.index - 1, shards, one.count)


OpenWorker = Callable[[RunSpec], Worker]


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


def find(workspace: Folder, plan: str, job: type[Job]) -> FrozenRun:
    """The frozen run of that name or id, which must be of that job.

    Raises:
        ConfigurationError: there is none, or it is of the other job.
    """
    frozen = frozen_runs.load(workspace, plan)
    if frozen.job != job.word:
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
    over = frozen_runs.is_over(workspace, frozen)
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
        with progress.step(f"{job_of(run).verb} slice {work.one}", objects) as step:
            counts = _do_shards(work, worker, step)
            step.note(
                f"{job_of(run).done_text(counts.done)}, {counts.failed:,} failed in "
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

"""Committing a run that its launcher did not, and what a launcher does with it: say, and tidy."""

from linnaeus import maintenance, runs
from linnaeus.errors import ReconciliationError
from linnaeus.jobs import frozen_runs
from linnaeus.jobs.execution import RunSummary
from linnaeus.jobs.frozen_runs import FrozenRun
from linnaeus.planning import plans
from linnaeus.progress import SILENT, Progress
from linnaeus.records import Counts
from linnaeus.status import tell_committed
from linnaeus.storage import Folder
from linnaeus.worker import receipts_listed

_SHOWN = 5
"""Missing shards that a message names."""


def commit_run(workspace: Folder, run_id: str, progress: Progress = SILENT) -> RunSummary:
    """Commit a run, by its id; again does nothing.

    Raises:
        ConfigurationError: there is no such run, or it was given up.
        ReconciliationError: shards are missing or counts do not add up; nothing is committed.
    """
    counts = runs.commit(workspace, run_id)
    run = plans.read_spec(workspace, run_id)
    tell_committed(workspace, run, counts)
    maintenance.after_run(workspace, run, progress)
    objects = run.planned + run.skipped + run.known_failures
    return RunSummary(run_id, run.job, run.source, run.manifest_id, objects, counts, 0.0)


def commit_plan(workspace: Folder, frozen: FrozenRun, progress: Progress = SILENT) -> RunSummary:
    """Commit a frozen run when all its shards are done; again does nothing.

    Raises:
        ConfigurationError: the run was given up, or is gone.
        ReconciliationError: shards are missing or counts do not add up; nothing is committed.
    """
    if not frozen_runs.is_over(workspace, frozen):
        _refuse_missing(workspace, frozen)
    if frozen.run_id is not None:
        return commit_run(workspace, frozen.run_id, progress)
    counts = Counts(skipped=frozen.skipped, known_failures=frozen.known_failures)
    objects = frozen.skipped + frozen.known_failures
    return RunSummary(None, frozen.job, frozen.source, frozen.manifest_id, objects, counts, 0.0)


def _refuse_missing(workspace: Folder, frozen: FrozenRun) -> None:
    assert frozen.run_id is not None
    run = plans.read_spec(workspace, frozen.run_id)
    missing = sorted(set(range(frozen.shards)) - set(receipts_listed(workspace, run)))
    if missing:
        named = ", ".join(map(str, missing[:_SHOWN])) + (", ..." if missing[_SHOWN:] else "")
        raise ReconciliationError(
            f"Plan {frozen.plan}: {len(missing)} of {frozen.shards} shards are not done ({named}); "
            "nothing is committed. Start those slices again, or do all that is left by linnaeus "
            f"{frozen.job} --plan {frozen.plan} --slice 1/1"
        )

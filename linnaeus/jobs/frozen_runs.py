"""Runs that are frozen under a name, so that processes that know only the name can do its shards.

A name is given once, by a create-only file in `runs/.names/`. Asking for it again gives the same
run, whatever has changed since.
"""

import re
from dataclasses import dataclass, field, replace

from linnaeus import layout, runs
from linnaeus.documents import Document
from linnaeus.errors import ConfigurationError
from linnaeus.jobs.execution import is_current
from linnaeus.manifests import Manifest
from linnaeus.planning import Job, RunSpec, plans
from linnaeus.runs import endings
from linnaeus.status import tell_handed_over
from linnaeus.storage import Folder

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True)
class FrozenRun:
    """A run by its name, and what there was to do when it was frozen."""

    plan: str
    """The name, or the run's id where it has no name."""
    run_id: str | None
    """None: there was nothing to do."""
    shards: int
    objects: int
    """To do."""
    joined: bool
    """Whether the run was there before, unfinished; it may be of an older manifest."""
    job: str
    """`embed` or `score`."""
    source: str
    manifest_id: str
    skipped: int = 0
    known_failures: int = 0


@dataclass(frozen=True)
class _NamedRun(FrozenRun, Document, remedy="delete it and freeze the plan again", indent=1):
    """The file of a name."""

    of: str = field(kw_only=True)
    """Identity of the job that it was given to."""


def check_name(name: str) -> None:
    """Refuse a name that no file could have everywhere, or that looks like a run's id.

    Raises:
        ConfigurationError: it is such a name.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} is no name for a plan: use letters, digits, '.', '_' and '-', at most 200, "
            "and begin with a letter or digit"
        )
    if layout.RUN_ID.fullmatch(name):
        raise ConfigurationError(f"{name} looks like a run's id: give the plan another name")


def freeze_run(workspace: Folder, job: Job, manifest: Manifest, name: str) -> FrozenRun:
    """Give a name to the job's unfinished run, or to a new one; the name's own if it has one.

    Raises:
        ConfigurationError: the name cannot be one, is another job's, or its run was given up.
    """
    check_name(name)
    identity = job.index(manifest.source)
    if not workspace.head(layout.run_name(name)):
        frozen = _frozen(workspace, job, manifest, name)
        named = _NamedRun(**vars(frozen), of=identity).to_json()
        if workspace.write_new(layout.run_name(name), named.encode()):
            return frozen
    frozen, of = _read(workspace, name)
    if of != identity:
        raise ConfigurationError(
            f"Plan {name} is another job's ({frozen.job} of {frozen.source}): choose another name"
        )
    is_over(workspace, frozen)
    return frozen


def _frozen(workspace: Folder, job: Job, manifest: Manifest, name: str) -> FrozenRun:
    run = runs.open_run(workspace, job, manifest.source)
    if run:
        return _of_run(run, name, joined=True)
    plan = runs.make_plan(workspace, job, manifest)
    if not plan.spec.planned and is_current(workspace, job, manifest, plan.spec.skipped):
        return replace(_of_run(plan.spec, name, joined=False), run_id=None)
    run = runs.create_run(workspace, job, plan)
    tell_handed_over(workspace, run)
    return _of_run(run, name, joined=run.run_id != plan.spec.run_id)


def _of_run(run: RunSpec, name: str, *, joined: bool) -> FrozenRun:
    return FrozenRun(
        plan=name,
        run_id=run.run_id,
        shards=len(run.shard_sizes),
        objects=run.planned,
        joined=joined,
        job=run.job,
        source=run.source,
        manifest_id=run.manifest_id,
        skipped=run.skipped,
        known_failures=run.known_failures,
    )


def load(workspace: Folder, plan: str) -> FrozenRun:
    """A run by its name or its id.

    Raises:
        ConfigurationError: there is no such name or run.
    """
    if layout.RUN_ID.fullmatch(plan):
        if not workspace.head(layout.plan(plan)):
            raise ConfigurationError(
                f"There is no run {plan} in {workspace.uri}; see linnaeus status"
            )
        return _of_run(plans.read_spec(workspace, plan), plan, joined=False)
    check_name(plan)
    return _read(workspace, plan)[0]


def _read(workspace: Folder, name: str) -> tuple[FrozenRun, str]:
    """A run by its name, and its job's identity."""
    named = _NamedRun.read_or_none(workspace, layout.run_name(name))
    if named is None:
        raise ConfigurationError(
            f"There is no plan {name} in {workspace.uri}: linnaeus plan IMAGES --freeze {name} "
            "makes it"
        )
    fields = dict(vars(named))
    of = fields.pop("of")
    return FrozenRun(**fields), of


def is_over(workspace: Folder, frozen: FrozenRun) -> bool:
    """Whether nothing is left to do of a run, not even the commit.

    Raises:
        ConfigurationError: the run was given up, or is gone.
    """
    if frozen.run_id is None:
        return True
    if workspace.head(layout.summary(frozen.run_id)):
        if why := endings.why_given_up(workspace, frozen.run_id):
            raise ConfigurationError(
                f"Plan {frozen.plan}: run {frozen.run_id} was given up: {why}; freeze a new plan "
                "under another name"
            )
        return True
    if not workspace.head(layout.plan(frozen.run_id)):
        raise ConfigurationError(
            f"Plan {frozen.plan}: its run {frozen.run_id} is gone from {workspace.uri}; freeze a "
            "new plan under another name"
        )
    return False

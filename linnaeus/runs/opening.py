"""A run: its frozen plan, joined by whoever issues the same command.

Runs of the same job, source, backbone or model and options are numbered by create-only entries in
an index, so two commands started at once share one run, and the next one begins only when the last
is committed.
"""

from dataclasses import replace
from functools import partial

from ulid import ULID

from linnaeus import layout, manifests
from linnaeus.documents import intact
from linnaeus.manifests import Manifest
from linnaeus.models import Model
from linnaeus.planning import (
    Job,
    Question,
    RunPlan,
    RunSpec,
    ScoreJob,
    decoder_of,
    known,
    plans,
    work_list,
)
from linnaeus.storage import Folder


def scoring_by(model: Model, payload: str) -> ScoreJob:
    """Scoring by a model, of whatever images."""
    return ScoreJob(
        model.fingerprint, model.name, model.version, payload, model.task, model.identity
    )


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
    data = workspace.read_or_none(claim)
    with intact(workspace.uri_of(claim), "delete it"):
        return None if data is None else str(ULID.from_str(data.decode()))


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
    spec = job.new_run(manifest.source, manifest.id)
    question = Question(
        computed_by=spec.computed_by,
        decoder=decoder_of(spec),
        fingerprint=job.fingerprint if job.computes_vectors else None,
        model=spec.model or None,
    )
    with (
        manifests.local_file(workspace, manifest.id) as listed,
        known(workspace, listed, question) as connection,
    ):
        pending = work_list.select_pending(connection, job)
        spec = replace(
            spec,
            skipped=pending.up_to_date,
            known_failures=pending.given_up,
            last_failure_at=pending.last_failed_at,
        )
        return RunPlan(plans.Draft(spec, work_list.shards(connection, pending)), follows)


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

"""What a workflow run would do, how long that would take and what it would cost, before it begins.

Nothing is written but the list of images. Counts are exact. What was done to find them out, listing
and planning, takes as long as it took now; the rest as long as in earlier runs, and before the
first one the embedding's time is measured on some of the images, on this machine.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import Any

from linnaeus import models, preparation, runs
from linnaeus.backbones import BackboneSpec
from linnaeus.manifests import Manifest, sampler
from linnaeus.planning import EmbedJob, RunPlan
from linnaeus.progress import SILENT, Progress
from linnaeus.storage import Folder
from linnaeus.worker import estimate_seconds
from linnaeus.workflow.file.config import Workflow
from linnaeus.workflow.forecast.cost import Use, cost_of
from linnaeus.workflow.forecast.past_runs import PastRuns
from linnaeus.workflow.retraining import Decision
from linnaeus.workflow.steps.listing import freeze_lists, listed_bytes
from linnaeus.workflow.workflow_run import StepName

_OF_TRAINING: tuple[StepName, ...] = ("train", "evaluate", "publish")


@dataclass(frozen=True)
class Lists:
    """The frozen lists that a workflow run goes by; often the same."""

    images: Manifest
    labelled: Manifest

    @property
    def distinct(self) -> Sequence[Manifest]:
        """Each once."""
        return [self.images] if self.images.id == self.labelled.id else [self.images, self.labelled]


@dataclass(frozen=True)
class Forecast:
    """What a workflow run would do; plain values, as its record keeps them."""

    workflow: str
    source: str
    manifest_id: str
    objects: int
    to_embed: int
    """Of the images and of those with labels, where they are others."""
    to_read_bytes: int
    up_to_date: int
    """Of the images: embedded already."""
    known_failures: int
    shards: int
    joins_run: str | None
    """The unfinished embedding run that would be completed first."""
    train: bool
    why: str
    to_score: int
    """All images but known failures, if a new model takes the old one's place."""
    seconds: Mapping[str, float]
    """By step; steps that are not known are left out."""
    unknown: tuple[str, ...]
    """Steps that would be done, and of which no run says how long they take."""
    runs: int
    """How many earlier runs embedded; 0: the time is measured, here."""
    bfloat16_seconds: float | None
    """What embedding would take by that precision, where it was measured."""
    cost: float
    prices: Mapping[str, Any]

    @property
    def total_seconds(self) -> float:
        """Of all steps that are known."""
        return sum(self.seconds.values())


def forecast(
    workspace: Folder,
    workflow: Workflow,
    decision: Decision | None = None,
    lists: Lists | None = None,
    progress: Progress = SILENT,
) -> Forecast:
    """Say what the next run would do.

    Args:
        workspace: where the workflow keeps everything.
        workflow: the file.
        decision: whether a model is to be trained. None: only if there is no model.
        lists: if they are frozen already.
        progress: where the steps of finding it out are shown.

    Raises:
        LinnaeusError: the images cannot be listed, or the backbone cannot be had.
    """
    measured: dict[str, float] = {}
    if lists is None:
        started = time.perf_counter()
        lists = _listed(workspace, workflow, progress)
        measured["manifest"] = time.perf_counter() - started
    past = PastRuns.of(workspace, workflow.name)
    started = time.perf_counter()
    with _backbone(workspace, workflow, lists.images, progress) as (home, spec):
        planned = _planned(workspace, spec, lists)
        measured["plan"] = time.perf_counter() - started
        if not past.count("embed"):
            measured |= _measured(home, spec, planned, progress)
    decision = decision or _first_model(workspace, workflow.model.name)
    scoring = _scoring(workspace, workflow, lists.images, train=decision.train)
    if decision.train and workflow.serving.payload == "embedding":
        without = planned.plans[0].spec.known_failures  # they have no vector to ask about
        scoring = replace(scoring, objects=scoring.objects - without)
    work = _Work(planned, scoring, decision, measured)
    return _forecast(workflow, lists, work, past)


def _first_model(workspace: Folder, name: str) -> Decision:
    """The decision where none was made: only a first model is sure to be trained."""
    if models.versions(workspace, name):
        return Decision(False, f"{name} is there")
    return Decision(True, f"there is no model {name} yet")


@dataclass(frozen=True)
class _Planned:
    """What is to embed of all lists; what is done already, of the images."""

    plans: Sequence[RunPlan]
    unfinished: str | None

    @property
    def to_embed(self) -> int:
        return sum(plan.spec.planned for plan in self.plans)

    @property
    def new(self) -> int:
        return sum(plan.draft.new_objects for plan in self.plans)

    @property
    def to_read_bytes(self) -> int:
        return sum(plan.draft.new_bytes for plan in self.plans)


@dataclass(frozen=True)
class _Scoring:
    """What is to score, and what has to be read for it."""

    objects: int
    reads: int = 0
    size_bytes: int = 0


@dataclass(frozen=True)
class _Work:
    """All that is to do, and the seconds that measuring it took."""

    planned: _Planned
    scoring: _Scoring
    decision: Decision
    measured: Mapping[str, float]

    def amounts(self, objects: int) -> Iterator[tuple[StepName, float]]:
        """The steps that would be done, with how much each has to do."""
        yield "manifest", objects
        yield "plan", 1
        if self.planned.to_embed:
            yield "embed", self.planned.to_embed
        if self.decision.train:
            yield from ((name, 1) for name in _OF_TRAINING)
        if self.scoring.objects:
            yield "score", self.scoring.objects
        yield "report", 1


def _listed(workspace: Folder, workflow: Workflow, progress: Progress) -> Lists:
    with progress.step("List images", None):
        return Lists(*freeze_lists(workspace, workflow))


@contextmanager
def _backbone(
    workspace: Folder, workflow: Workflow, manifest: Manifest, progress: Progress
) -> Iterator[tuple[Folder, BackboneSpec]]:
    """The backbone and where its files are: a passing folder, if the workspace has it not yet."""
    backbone = workflow.backbone
    if spec := preparation.find(workspace, backbone.name, backbone.precision):
        yield workspace, spec
        return
    with TemporaryDirectory(prefix="linnaeus-forecast-") as name:
        home = Folder(name)
        with progress.step("Prepare backbone", None):
            sample = sampler(workspace, manifest)
            spec = preparation.prepare(home, backbone.name, backbone.precision, sample)
        yield home, spec


def _planned(workspace: Folder, spec: BackboneSpec, lists: Lists) -> _Planned:
    job = EmbedJob(spec.fingerprint)
    plans = [runs.make_plan(workspace, job, manifest) for manifest in lists.distinct]
    begun = runs.open_run(workspace, job, lists.images.source)
    return _Planned(plans, begun.run_id if begun else None)


def _measured(
    home: Folder, spec: BackboneSpec, planned: _Planned, progress: Progress
) -> dict[str, float]:
    """Seconds of embedding, `embed`, and perhaps those that `bfloat16` would take."""
    plan = next((plan for plan in planned.plans if plan.draft.new_objects), None)
    if plan is None:
        return {}
    with progress.step("Measure this machine", None):
        by_precision = estimate_seconds(home, spec, plan)
    times = planned.new / plan.draft.new_objects
    embed = by_precision.pop(spec.precision) * times
    return {"embed": embed} | {name: seconds * times for name, seconds in by_precision.items()}


def _scoring(workspace: Folder, workflow: Workflow, manifest: Manifest, *, train: bool) -> _Scoring:
    payload, name = workflow.serving.payload, workflow.model.name
    if train:
        if payload == "embedding":
            return _Scoring(manifest.objects)
        return _Scoring(manifest.objects, manifest.objects, listed_bytes(workspace, manifest))
    model = models.find_newest(workspace, name)
    if model is None:
        return _Scoring(0)
    job = runs.scoring_by(model, payload)
    plan = runs.make_plan(workspace, job, manifest)
    if payload == "embedding":
        return _Scoring(plan.spec.planned)  # what has no vector yet is read by embed
    return _Scoring(plan.spec.planned, plan.draft.new_objects, plan.draft.new_bytes)


def _forecast(workflow: Workflow, lists: Lists, work: _Work, past: PastRuns) -> Forecast:
    seconds: dict[str, float] = {}
    unknown: list[str] = []
    for name, amount in work.amounts(lists.images.objects):
        known = work.measured.get(name, past.seconds(name, amount))
        if known is None:
            unknown.append(name)
        else:
            seconds[name] = known
    images = work.planned.plans[0].spec
    size_bytes = work.planned.to_read_bytes + work.scoring.size_bytes
    reads = work.planned.new + work.scoring.reads
    use = Use(sum(seconds.values()), size_bytes, reads)
    return Forecast(
        workflow=workflow.name,
        source=lists.images.source,
        manifest_id=lists.images.id,
        objects=lists.images.objects,
        to_embed=work.planned.to_embed,
        to_read_bytes=size_bytes,
        up_to_date=images.skipped,
        known_failures=images.known_failures,
        shards=sum(len(plan.spec.shard_sizes) for plan in work.planned.plans),
        joins_run=work.planned.unfinished,
        train=work.decision.train,
        why=work.decision.why,
        to_score=work.scoring.objects,
        seconds=seconds,
        unknown=tuple(unknown),
        runs=past.count("embed"),
        bfloat16_seconds=work.measured.get("bfloat16"),
        cost=cost_of(workflow.prices, use).total,
        prices=workflow.prices.model_dump(),
    )

"""The front door in Python: everything that the command line does, as calls of the same names."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from linnaeus import maintenance, manifests, models, preparation, runs
from linnaeus.arguments import Location, Locations, Words, checked
from linnaeus.backbones import BackboneSpec
from linnaeus.choices import DEFAULT_BACKBONE
from linnaeus.errors import ConfigurationError
from linnaeus.jobs import (
    FrozenRun,
    RunSummary,
    SliceSummary,
    commit_plan,
    commit_run,
    frozen_runs,
    retry,
    slices,
)
from linnaeus.labels import LabelsTable
from linnaeus.maintenance import Compaction, Retention, Vacuum, vacuum
from linnaeus.manifests import Manifest, sampler
from linnaeus.models import Model
from linnaeus.planning import EmbedJob, RunPlan, ScoreJob
from linnaeus.process import refuse_hidden_packages
from linnaeus.progress import SILENT, Progress, count_text
from linnaeus.records import Counts, PhotoLabels
from linnaeus.status import RunDetails, RunStatus, details, observer, overview, require
from linnaeus.storage import Folder
from linnaeus.tables import Table
from linnaeus.worker import Worker, estimate_seconds

if TYPE_CHECKING:
    from beam_pipelines.preflight import Finding
    from linnaeus.training.config import TrainConfig
    from linnaeus.training.labelling import Labeller
    from linnaeus.training.tflite.export import SmallModels
    from serving.client.skew import Comparison

__all__ = [
    "Compaction",
    "Counts",
    "FrozenRun",
    "Labels",
    "Manifest",
    "Model",
    "PhotoLabels",
    "PlanSummary",
    "RunDetails",
    "RunStatus",
    "RunSummary",
    "SliceSummary",
    "Vacuum",
    "Workspace",
]


@dataclass(frozen=True)
class PlanSummary:
    """What embedding a manifest would do."""

    source: str
    manifest_id: str
    objects: int
    to_embed: int
    to_read_bytes: int
    up_to_date: int
    known_failures: int
    shards: int
    joins_run: str | None
    """The unfinished run that the same command would first complete."""
    estimated_seconds: dict[str, float]
    """By precision, from a sample of the images, on this machine; empty if nothing is to do."""


@dataclass(frozen=True)
class Labels:
    """The current labels of one model over all sources."""

    folder: Folder
    model: str

    @property
    def table(self) -> Table:
        """The Delta table."""
        return LabelsTable(self.folder, self.model).table

    @property
    def uri(self) -> str:
        """Root of the Delta table."""
        return self.table.uri

    def to_arrow(self) -> pa.Table:
        """One row an object, schema `records.LABELS`; empty before the first scoring run."""
        return self.table.scan().read_all()

    def to_pandas(self) -> Any:
        """The same as a data frame."""
        return self.to_arrow().to_pandas()


class Workspace:
    """A root under which manifests, embeddings, models and labels lie.

    Args:
        uri: local folder, `s3://…`, `gs://…` or `az://…`.
        progress: where steps are shown; nowhere by default.
    """

    @checked
    def __init__(self, uri: Location = "workspace", progress: Progress = SILENT) -> None:
        refuse_hidden_packages()
        self.folder = Folder(uri)
        self._progress = progress

    @checked
    def manifest(self, images: Location, changes: Location | None = None) -> Manifest:
        """Freeze the list of a source's objects.

        With `changes`, a file (or folder of files) of events or keys, only what these name is
        looked up and put into the last list; nothing is listed.
        """
        if changes is None:
            return manifests.freeze(self.folder, images)
        with self._progress.step("Look up changes", None) as step:
            manifest, found = manifests.freeze_changed(self.folder, images, changes)
            if found.named and not found.images:
                step.warn(f"none of {changes} names an image of {manifest.source}")
            step.note(
                f"{found.named:,} named, {found.ignored:,} of them ignored; "
                f"{count_text(found.images, 'images')} looked up, {found.gone:,} gone"
            )
        return manifest

    @checked
    def plan(
        self,
        images: Location,
        backbone: str = DEFAULT_BACKBONE,
        precision: str = "float32",
        changes: Location | None = None,
    ) -> PlanSummary:
        """What `embed` would read, compute and reuse."""
        manifest = self.manifest(images, changes)
        spec = self._prepare(manifest, backbone, precision)
        job = EmbedJob(spec.fingerprint)
        plan = runs.make_plan(self.folder, job, manifest)
        seconds = self._estimate_seconds(spec, plan)
        joined = runs.open_run(self.folder, job, manifest.source)
        return PlanSummary(
            source=manifest.source,
            manifest_id=manifest.id,
            objects=manifest.objects,
            to_embed=plan.spec.planned,
            to_read_bytes=plan.draft.new_bytes,
            up_to_date=plan.spec.skipped,
            known_failures=plan.spec.known_failures,
            shards=len(plan.spec.shard_sizes),
            joins_run=joined.run_id if joined else None,
            estimated_seconds=seconds,
        )

    @checked
    def freeze(  # noqa: PLR0913 - an argument an option of the command
        self,
        images: Location,
        name: str,
        *,
        model: str | None = None,
        backbone: str = DEFAULT_BACKBONE,
        precision: str = "float32",
        payload: str = "embedding",
        changes: Location | None = None,
    ) -> FrozenRun:
        """Give a name to what `embed`, or `score` if a model is named, would do now.

        Processes that know nothing of each other can then do its slices, and `commit_plan` commits.
        """
        frozen_runs.check_name(name)
        if model is None:
            manifest = self.manifest(images, changes)
            fingerprint = self._prepare(manifest, backbone, precision).fingerprint
            return frozen_runs.freeze_run(self.folder, EmbedJob(fingerprint), manifest, name)
        from beam_pipelines.score import load_checked

        found = load_checked(self.folder, model, payload)
        manifest = self.manifest(images, changes)
        return frozen_runs.freeze_run(self.folder, runs.scoring_by(found, payload), manifest, name)

    @checked
    def embed_slice(self, plan: str, slice: str) -> SliceSummary:
        """Do the shards of a slice, such as `3/16` or `auto/16`, of a frozen embedding run."""
        one = slices.parse(slice)
        frozen = slices.find(self.folder, plan, EmbedJob)
        opened = partial(Worker, self.folder)
        return slices.do_slice(self.folder, frozen, one, opened, self._progress)

    @checked
    def score_slice(
        self, plan: str, slice: str, *, server: str | None = None, skew_gate: bool = True
    ) -> SliceSummary:
        """Do the shards of a slice of a frozen scoring run; with the last two as for `score`."""
        from beam_pipelines.model_servers import ServerChoice
        from beam_pipelines.scoring_slices import score_slice

        choice = ServerChoice(server, skew_gate)
        return score_slice(self.folder, plan, slices.parse(slice), choice, self._progress)

    def _prepare(self, manifest: Manifest, backbone: str, precision: str) -> BackboneSpec:
        with self._progress.step("Prepare backbone", None):
            sample = sampler(self.folder, manifest)
            return preparation.prepare(self.folder, backbone, precision, sample)

    def _estimate_seconds(self, spec: BackboneSpec, plan: RunPlan) -> dict[str, float]:
        if not plan.draft.new_objects:
            return {}
        with self._progress.step("Measure this machine", None):
            return estimate_seconds(self.folder, spec, plan)

    @checked
    def embed(
        self,
        images: Location,
        backbone: str = DEFAULT_BACKBONE,
        precision: str = "float32",
        beam_options: Words = (),
        changes: Location | None = None,
    ) -> RunSummary:
        """Turn every new image into an embedding, by a Beam pipeline.

        `changes` are as in `manifest`.
        """
        from beam_pipelines.embed import EmbedRequest, embed

        request = EmbedRequest(
            images, backbone, precision, beam_options=beam_options, changes=changes
        )
        return embed(self.folder, request, self._progress)

    @checked
    def train(
        self,
        images: Location,
        model: str,
        config: "TrainConfig | None" = None,
        *,
        summaries_dir: Location | None = None,
        **settings: Any,
    ) -> Model:
        """Train a head on stored embeddings, test it and publish the model's next version.

        `settings` are fields of `linnaeus.training.config.TrainConfig` in place of the
        configuration's, such as `head="linear"` or `layers={"hidden": (512,)}`; `summaries_dir` is
        for TensorBoard.
        """
        from linnaeus.training.config import TrainConfig, with_settings
        from linnaeus.training.monitoring import Monitoring
        from linnaeus.training.train import train

        models.check_name(model)
        if not isinstance(config, TrainConfig | None):
            raise ConfigurationError(
                f"train: config is a TrainConfig, not {config!r:.80}: give single settings by name"
            )
        config = with_settings(config or TrainConfig(), settings)
        monitoring = Monitoring(summaries_dir)
        return train(self.folder, self.manifest(images), model, config, self._progress, monitoring)

    @checked
    def evaluate(self, images: Location, model: str) -> dict[str, Any]:
        """Metrics of a published model on labelled images with stored embeddings."""
        from linnaeus.training.evaluate import evaluate

        models.load_model(self.folder, model)  # before the images are listed
        return evaluate(self.folder, self.manifest(images), model, self._progress)

    @checked
    def tflite(
        self,
        images: Location,
        model: str,
        output: Location,
        kinds: Words = ("float32", "dynamic", "int8"),
    ) -> "SmallModels":
        """Write a published model as TFLite files, each tested on labelled images."""
        described = models.load_model(self.folder, model)  # before TensorFlow is imported
        from linnaeus.training.tflite.export import Export, export_tflite

        export = Export(output, kinds)  # before the images are listed
        return export_tflite(self.folder, self.manifest(images), described, export, self._progress)

    @checked
    def score(  # noqa: PLR0913 - an argument an option of the command
        self,
        images: Location,
        model: str,
        *,
        server: str | None = None,
        output: Location | None = None,
        format: str = "parquet",
        payload: str = "embedding",
        skew_gate: bool = True,
        beam_options: Words = (),
        changes: Location | None = None,
    ) -> RunSummary:
        """Label every image that the model has not labelled, by a Beam pipeline.

        A server that says other things of the model's golden images than this machine is refused,
        unless `skew_gate` is false. `changes` are as in `manifest`.
        """
        from beam_pipelines.score import ScoreRequest, score

        request = ScoreRequest(
            images,
            model,
            server,
            payload,
            output,
            format,
            skew_gate=skew_gate,
            beam_options=beam_options,
            changes=changes,
        )
        return score(self.folder, request, self._progress)

    @checked
    def retry(  # noqa: PLR0913 - an argument an option of the command
        self,
        images: Location,
        *,
        model: str | None = None,
        server: str | None = None,
        output: Location | None = None,
        format: str = "parquet",
        payload: str = "embedding",
        skew_gate: bool = True,
        backbone: str = DEFAULT_BACKBONE,
        precision: str = "float32",
        codes: Words = (),
        beam_options: Words = (),
    ) -> RunSummary:
        """Try again what failed of images that were listed before, however often it was tried.

        Args:
            images: as they were named before. Nothing is listed anew.
            model: what was scored by this model is scored again; without it, embedded again by
                `backbone` and `precision`.
            server: with the next four, as for `score`.
            output: where all labels go as plain files.
            format: of these.
            payload: what is sent to the server.
            skew_gate: whether a server that sees otherwise is refused.
            backbone: as for `embed`.
            precision: as for `embed`.
            codes: try only these failures; by default those that may pass (`retrying.CODES`).
            beam_options: options of the Beam runner.
        """
        retried = retry.parse_codes(codes)
        options: dict[str, Any] = {"beam_options": beam_options, "retried_codes": retried}
        if model is None:
            from beam_pipelines.embed import EmbedRequest, embed

            embedding = EmbedRequest(images, backbone, precision, **options)
            return embed(self.folder, embedding, self._progress)
        from beam_pipelines.score import ScoreRequest, score

        named = (images, model, server, payload, output, format)
        scoring = ScoreRequest(*named, skew_gate=skew_gate, **options)
        return score(self.folder, scoring, self._progress)

    @checked
    def skew(self, model: str, server: str | None = None) -> "list[Comparison]":
        """Hold a server's answers about a model's golden images against this machine's.

        Args:
            model: `NAME` or `NAME:VERSION`.
            server: `HOST:PORT`; None starts the embedded server for it.

        Returns:
            A comparison or two for each image and each way of sending it.
        """
        from serving.client import skew

        return skew.compare_all(self.folder, models.load_model(self.folder, model), server)

    @checked
    def label(self, photos: Locations, model: str) -> list[PhotoLabels]:
        """What a model says of single photos; nothing is stored.

        A photo that cannot be read or decoded has no labels but an `error`. The model that was
        asked last stays loaded.
        """
        return self._labeller.label(photos, model)

    @cached_property
    def _labeller(self) -> "Labeller":
        from linnaeus.training.labelling import Labeller

        return Labeller(self.folder, self._progress)

    @checked
    def labels(self, model: str) -> Labels:
        """The current labels of a model: those of its last scoring run, of each source.

        Raises:
            ConfigurationError: there is no such model, and no label of one.
        """
        models.check_name(model)
        labels = Labels(self.folder, model)
        if labels.table.load() is None:
            models.load_model(self.folder, model)
        return labels

    @checked
    def preflight(  # noqa: PLR0913 - an argument an option of the command
        self,
        images: Location,
        model: str | None = None,
        *,
        server: str | None = None,
        output: Location | None = None,
        flink: str | None = None,
        beam_options: Words = (),
    ) -> "list[Finding]":
        """What would be wrong with `embed`, or with `score` if a model is named, on a runner.

        `flink` is `HOST:PORT` of Flink's REST interface, where the options do not name it.
        """
        from beam_pipelines import preflight

        if model:
            models.load_model(self.folder, model)
        job = ScoreJob if model else EmbedJob
        asked = preflight.Submission(
            job, self.folder.uri, images, output, server, tuple(beam_options), flink
        )
        with self._progress.step("Look around", None):
            return preflight.examine(asked)

    @checked
    def commit(self, run_id: str) -> RunSummary:
        """Make a finished run's rows visible, where its launcher did not."""
        return commit_run(self.folder, run_id, self._progress)

    @checked
    def commit_plan(self, plan: str) -> RunSummary:
        """Commit a frozen run, by its name or id, when all its slices are done."""
        return commit_plan(self.folder, frozen_runs.load(self.folder, plan), self._progress)

    def compact(self) -> list[Compaction]:
        """Merge the small parts of all tables into large ones, and sum up their logs."""
        require(self.folder)
        with self._progress.step("Compact", None):
            return maintenance.compact_all(self.folder)

    @checked
    def vacuum(self, *, dry_run: bool = False, retention_days: float = 7.0) -> Vacuum:
        """Delete what no table, no run and no reader needs any more.

        Args:
            dry_run: only say what would go.
            retention_days: how long parts are kept that compaction or newer labels replaced. Who
                reads a snapshot that is older, such as a long training, may miss them.
        """
        require(self.folder)
        retention = Retention(removed=timedelta(days=retention_days))
        with self._progress.step("Vacuum", None):
            return vacuum(self.folder, retention, dry_run=dry_run)

    @checked
    def forget(self, source: Location) -> dict[str, int]:
        """Take the labels of images that are gone for good away; how many went, by model."""
        require(self.folder)
        return maintenance.forget(self.folder, source)

    def status(self) -> dict[str, Any]:
        """Tables, models and runs."""
        return overview(self.folder)

    @checked
    def run(self, run_id: str, failures: int = 10) -> RunDetails:
        """How far a run is, how many objects failed by code, and some of them with their errors."""
        return details.describe(self.folder, run_id, failures)

    def unfinished(self) -> list[str]:
        """Ids of the runs that are begun and not committed, newest first."""
        return observer.unfinished(self.folder)

    @checked
    def watch(self, run_id: str) -> Iterator[RunStatus]:
        """Look at a run every few seconds, from anywhere, until it is committed or stopped."""
        return observer.follow(self.folder, run_id)

    @checked
    def report(self, run: str, output: Location | None = None) -> str:
        """Make the page to look at of a training or scoring run, or of a model's training run.

        Returns:
            Where it is: `output`, or `report.html` in the run's folder.
        """
        from linnaeus.report import save

        with self._progress.step("Report", None):
            return save(self.folder, run, output)

"""The scoring job: ask a model server for the labels of IMAGES and bring the tables up to date.

python -m beam_pipelines.score --workspace W --images IMAGES --model NAME[:VERSION]
    [--server HOST:PORT] [BEAM OPTIONS]
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from beam_pipelines.shards import WorkerOptions, define_pipeline, execute
from linnaeus import backbones, manifests, models
from linnaeus.errors import ConfigurationError, FingerprintMismatch
from linnaeus.jobs import RunSummary, run_job
from linnaeus.labels import LabelsTable
from linnaeus.models import Model
from linnaeus.output import LabelFiles
from linnaeus.plans import RunSpec
from linnaeus.progress import SILENT, Progress, for_stream
from linnaeus.runs import Job
from linnaeus.storage import Folder
from linnaeus.worker import SIGNATURES

__all__ = ["ScoreRequest", "define_pipeline", "main", "score"]


@dataclass(frozen=True)
class ScoreRequest:
    """What to label, by which model on which server, and where plain files go."""

    images: str
    model: str
    """`NAME` or `NAME:VERSION`."""
    server: str | None = None
    """`host:port`; None starts the embedded server for the run."""
    payload: str = "embedding"
    """What is sent: `embedding`, `pixels` or `image` (the object's bytes)."""
    output: str | None = None
    format: str = "parquet"
    engine: str = "auto"
    beam_options: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.payload not in SIGNATURES:
            raise ConfigurationError(
                f"There is no payload {self.payload!r}; choose {', '.join(SIGNATURES)}"
            )


def score(workspace: Folder, request: ScoreRequest, progress: Progress = SILENT) -> RunSummary:
    """Label the objects of a manifest that this model version has not labelled, and commit.

    Raises:
        LinnaeusError: bad input, storage or a server that refuses, or counts that do not add up.
    """
    files = LabelFiles(Folder(request.output), request.format) if request.output else None
    model = models.load_model(workspace, request.model)
    _check_backbone(workspace, model, request.payload)
    with progress.step("List images", None) as step:
        manifest = manifests.freeze(workspace, request.images)
        step.note(f"{manifest.objects:,} images in {manifest.source}")
    job = Job("score", model.fingerprint, model.name, model.version, request.payload)

    def on_beam(run: RunSpec) -> None:
        if run.shard_sizes:
            with _server(workspace, model, request, progress) as address:
                options = WorkerOptions(workspace.uri, run.run_id, request.engine, address)
                execute(options, len(run.shard_sizes), list(request.beam_options))

    summary = run_job(workspace, job, manifest, on_beam, progress)
    if files:
        facts = {"model": model.name, "model_version": model.version, "run_id": summary.run_id}
        labels = LabelsTable(workspace, model.name)
        files.write(labels, manifest.source, {**facts, "counts": asdict(summary.counts)})
    return replace(summary, output=request.output)


def _check_backbone(workspace: Folder, model: Model, payload: str) -> None:
    """Refuse a model whose embeddings this workspace cannot have."""
    if payload == "image":
        return
    try:
        backbones.load_spec(workspace, model.fingerprint)
    except ConfigurationError as error:
        raise FingerprintMismatch(
            f"Model {model.name}:{model.version} reads embeddings of backbone "
            f"{model.backbone.name} ({model.fingerprint}), which {workspace.uri} does not have; "
            "train the model here, or score with --payload image"
        ) from error


@contextmanager
def _server(
    workspace: Folder, model: Model, request: ScoreRequest, progress: Progress
) -> Iterator[str]:
    """The address of a server that has the model."""
    if request.server:
        from serving.client import ScoringClient

        with ScoringClient(request.server) as client:
            client.resolve_version(model.name, model.version)
        yield request.server
        return
    from serving.local import start_server

    with progress.step("Start model server", None) as step:
        server = start_server(workspace.uri, model.name)
        address = server.__enter__()
        step.note(f"{model.name}:{model.version} served on {address}")
    try:
        yield address
    finally:
        server.__exit__(None, None, None)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the job; options it does not know go to Beam."""
    parser = argparse.ArgumentParser(prog="python -m beam_pipelines.score", description=__doc__)
    for name in ("workspace", "images", "model"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--server")
    parser.add_argument("--output")
    for name in ("payload", "format", "engine"):
        parser.add_argument(f"--{name}", default=getattr(ScoreRequest, name))
    known, beam_options = parser.parse_known_args(argv)
    fields = {k: v for k, v in vars(known).items() if k != "workspace"}
    request = ScoreRequest(**fields, beam_options=beam_options)
    print(score(Folder(known.workspace), request, for_stream(sys.stderr)))


if __name__ == "__main__":
    main()

"""The scoring job: ask a model server for the labels of IMAGES and bring the tables up to date.

python -m beam_pipelines.score --workspace W --images IMAGES --model NAME[:VERSION]
    [--server HOST:PORT] [BEAM OPTIONS]
"""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace

from beam_pipelines import preflight
from beam_pipelines.model_servers import ModelServer, ServerChoice
from beam_pipelines.preflight import Submission
from beam_pipelines.runners import OnBeam, launcher_leaves, program
from linnaeus import backbones, manifests, models
from linnaeus.errors import ConfigurationError, FingerprintMismatch
from linnaeus.jobs import RunSummary, retry, run_job, submit_job
from linnaeus.labels import LabelFiles, LabelsTable, written_by
from linnaeus.manifests import Manifest
from linnaeus.models import Model
from linnaeus.plain_text import plain_json
from linnaeus.planning import ScoreJob
from linnaeus.process import run_program
from linnaeus.progress import SILENT, Progress, count_text, for_stream
from linnaeus.runs import Gate, scoring_by
from linnaeus.signatures import OF_PAYLOAD
from linnaeus.storage import Folder


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
    skew_gate: bool = True
    """Whether a server that says other things of the golden images than this machine is refused."""
    beam_options: Sequence[str] = ()
    retried_codes: frozenset[str] | None = None
    """Score only what failed so, again, of the list whose labels are current."""
    changes: str | None = None
    """File of what may have changed since the last list; then nothing is listed."""

    def __post_init__(self) -> None:
        if self.payload not in OF_PAYLOAD:
            raise ConfigurationError(
                f"There is no payload {self.payload!r}; choose {', '.join(OF_PAYLOAD)}"
            )


def score(workspace: Folder, request: ScoreRequest, progress: Progress = SILENT) -> RunSummary:
    """Label the objects of a manifest that this model version has not labelled, and commit.

    Raises:
        LinnaeusError: bad input, storage or a server that refuses, or counts that do not add up.
    """
    started = time.perf_counter()
    refuse_unfit(workspace, request, progress)
    model = load_checked(workspace, request.model, request.payload)
    with progress.step("List images", None) as step:
        if request.retried_codes is None:
            manifest = manifests.freeze(workspace, request.images, request.changes)
        else:
            known = (workspace, request.images, f"{model.name}:{model.version}", model.identity)
            manifest = retry.scored_manifest(*known)
        step.note(f"{count_text(manifest.objects, 'images')} in {manifest.source}")
    summary = _score(_Scoring(workspace, manifest, request, model), progress)
    return replace(summary, seconds=time.perf_counter() - started)


def refuse_unfit(workspace: Folder, request: ScoreRequest, progress: Progress) -> None:
    """Refuse Beam options that are none, and what cannot go well on the runner they name.

    Raises:
        ConfigurationError: all that is wrong, in one line.
    """
    options = tuple(request.beam_options)
    images, output, server = request.images, request.output, request.server
    asked = Submission(ScoreJob, workspace.uri, images, output, server, options)
    preflight.refuse(asked, progress)


def score_listed(
    workspace: Folder,
    manifest: Manifest,
    request: ScoreRequest,
    progress: Progress = SILENT,
    gate: Gate | None = None,
) -> RunSummary:
    """Label the objects of a manifest that was made before, as `score` does, if a gate lets it.

    Raises:
        GateFailed: by the gate or by a server that sees otherwise; the labels stay as they were.
    """
    model = load_checked(workspace, request.model, request.payload)
    return _score(_Scoring(workspace, manifest, request, model), progress, gate)


@dataclass(frozen=True)
class _Scoring:
    workspace: Folder
    manifest: Manifest
    request: ScoreRequest
    model: Model
    """Loaded and checked once a run."""


def _score(work: _Scoring, progress: Progress, gate: Gate | None = None) -> RunSummary:
    workspace, manifest, request, model = work.workspace, work.manifest, work.request, work.model
    files = LabelFiles(Folder(request.output), request.format) if request.output else None
    if files:
        files.refuse_strangers()
    job = replace(scoring_by(model, request.payload), retried_codes=request.retried_codes)
    with ExitStack() as servers:
        way = ServerChoice(request.server, request.skew_gate, request.engine)
        server = ModelServer(workspace, model, way, progress, servers)
        executor = executor_of(request, server, gate)
        if launcher_leaves(request.beam_options):
            handed_over = submit_job(workspace, job, manifest, executor)
            return replace(handed_over, output=request.output)
        summary = run_job(workspace, job, manifest, executor, progress, gate)
    if files:
        facts = {**written_by(model), "run_id": summary.run_id, "counts": asdict(summary.counts)}
        files.write(LabelsTable(workspace, model.name), manifest.source, facts)
    return replace(summary, output=request.output)


def executor_of(request: ScoreRequest, server: ModelServer, gate: Gate | None) -> OnBeam:
    """Against one server for all runs; where there is a gate, the pipeline commits nothing."""
    return OnBeam(
        server.workspace,
        request.engine,
        request.beam_options,
        output=request.output or "",
        format=request.format,
        progress=server.progress,
        may_commit=gate is None,
        skew_gate=request.skew_gate,
        model_server=server,
    )


def load_checked(workspace: Folder, name_and_version: str, payload: str) -> Model:
    """A model that can score here by what is sent to its server.

    Raises:
        ConfigurationError: there is none.
        FingerprintMismatch: it reads embeddings that this workspace cannot have.
    """
    model = models.load_model(workspace, name_and_version)
    if payload != "image":
        _check_backbone(workspace, model)
    return model


def _check_backbone(workspace: Folder, model: Model) -> None:
    try:
        backbones.load_spec(workspace, model.fingerprint)
    except ConfigurationError as error:
        raise FingerprintMismatch(
            f"Model {model.name}:{model.version} reads embeddings of backbone "
            f"{model.backbone.name} ({model.fingerprint}), which {workspace.uri} does not have; "
            "train the model here, or score with --payload image"
        ) from error


def options() -> argparse.ArgumentParser:
    """The program's own options."""
    optional = ("server", "output", "payload", "format", "engine")
    required = ("workspace", "images", "model")
    parser = program("score", required, ScoreRequest, optional, __doc__)
    # A value, not a flag: the parameters of a template have values.
    parser.add_argument("--skew_gate", choices=("true", "false"), default="true")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the job; options it does not know go to Beam."""
    known, beam_options = options().parse_known_args(argv)
    workspace = Folder(vars(known).pop("workspace"))
    known.skew_gate = known.skew_gate == "true"
    request = ScoreRequest(**vars(known), beam_options=beam_options)
    summary = score(workspace, request, for_stream(sys.stderr))
    print(plain_json(asdict(summary)))


if __name__ == "__main__":
    run_program(main)

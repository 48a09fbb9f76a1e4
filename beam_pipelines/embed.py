"""The embedding job: bring the table of a backbone's embeddings up to date with IMAGES.

python -m beam_pipelines.embed --workspace W --images IMAGES [--backbone B] [BEAM OPTIONS]
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from beam_pipelines import preflight
from beam_pipelines.preflight import Submission
from beam_pipelines.runners import OnBeam, launcher_leaves, program
from linnaeus import manifests, preparation
from linnaeus.choices import DEFAULT_BACKBONE
from linnaeus.errors import ConfigurationError
from linnaeus.jobs import RunSummary, retry, run_job, submit_job
from linnaeus.manifests import Manifest, sampler
from linnaeus.plain_text import plain_json
from linnaeus.planning import EmbedJob
from linnaeus.process import run_program
from linnaeus.progress import SILENT, Progress, count_text, for_stream
from linnaeus.storage import Folder
from linnaeus.tables import EmbeddingTable


@dataclass(frozen=True)
class EmbedRequest:
    """What to embed, with which backbone, by which engine."""

    images: str
    backbone: str = DEFAULT_BACKBONE
    precision: str = "float32"
    engine: str = "auto"
    beam_options: Sequence[str] = ()
    retried_codes: frozenset[str] | None = None
    """Embed only what failed so, again, of the list that was made before."""
    changes: str | None = None
    """File of what may have changed since the last list; then nothing is listed."""


def embed(workspace: Folder, request: EmbedRequest, progress: Progress = SILENT) -> RunSummary:
    """Embed the objects of a manifest that have no vector yet, and commit.

    Raises:
        LinnaeusError: bad input, storage that refuses, or counts that do not add up.
    """
    started = time.perf_counter()
    refuse_unfit(workspace, request, progress)
    with progress.step("List images", None) as step:
        if request.retried_codes is None:
            manifest = manifests.freeze(workspace, request.images, request.changes)
        else:
            manifest = retry.embedded_manifest(workspace, request.images)
            refuse_unused_backbone(workspace, request.backbone, request.precision)
        step.note(f"{count_text(manifest.objects, 'images')} in {manifest.source}")
    summary = embed_listed(workspace, manifest, request, progress)
    return replace(summary, seconds=time.perf_counter() - started)


def refuse_unfit(workspace: Folder, request: EmbedRequest, progress: Progress) -> None:
    """Refuse Beam options that are none, and what cannot go well on the runner they name.

    Raises:
        ConfigurationError: all that is wrong, in one line.
    """
    options = tuple(request.beam_options)
    asked = Submission(EmbedJob, workspace.uri, request.images, beam_options=options)
    preflight.refuse(asked, progress)


def refuse_unused_backbone(workspace: Folder, name: str, precision: str) -> None:
    """Refuse to retry, by `ConfigurationError`, what no run of the workspace ever tried."""
    spec = preparation.find(workspace, name, precision)
    if spec is None or EmbeddingTable(workspace, spec.fingerprint).version is None:
        raise ConfigurationError(
            f"nothing in {workspace.uri} was embedded by {name} in {precision}, so nothing failed: "
            "name the backbone and precision of your `linnaeus embed`"
        )


def embed_listed(
    workspace: Folder, manifest: Manifest, request: EmbedRequest, progress: Progress = SILENT
) -> RunSummary:
    """Embed the objects of a manifest that was made before, as `embed` does."""
    with progress.step("Prepare backbone", None) as step:
        sample = sampler(workspace, manifest)
        spec = preparation.prepare(workspace, request.backbone, request.precision, sample)
        step.note(f"{spec.name}, {spec.embedding_size:,} values an image, {spec.fingerprint}")
    executor = OnBeam(workspace, request.engine, request.beam_options, progress=progress)
    job = EmbedJob(spec.fingerprint, retried_codes=request.retried_codes)
    if launcher_leaves(request.beam_options):
        return submit_job(workspace, job, manifest, executor)
    return run_job(workspace, job, manifest, executor, progress)


def options() -> argparse.ArgumentParser:
    """The program's own options."""
    optional = ("backbone", "precision", "engine")
    return program("embed", ("workspace", "images"), EmbedRequest, optional, __doc__)


def main(argv: Sequence[str] | None = None) -> None:
    """Command line of the job; options it does not know go to Beam."""
    known, beam_options = options().parse_known_args(argv)
    workspace = Folder(vars(known).pop("workspace"))
    request = EmbedRequest(**vars(known), beam_options=beam_options)
    summary = embed(workspace, request, for_stream(sys.stderr))
    print(plain_json(asdict(summary)))


if __name__ == "__main__":
    run_program(main)

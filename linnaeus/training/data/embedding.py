"""Embeds what a training needs and the tables lack, in this process, by the job's own steps."""

from linnaeus.backbones import BackboneSpec
from linnaeus.jobs import InThisProcess, RunSummary, run_job
from linnaeus.manifests import Manifest
from linnaeus.planning import EmbedJob
from linnaeus.progress import SILENT, Progress
from linnaeus.storage import Folder
from linnaeus.worker import Worker


def embed_missing(
    workspace: Folder,
    manifest: Manifest,
    spec: BackboneSpec,
    progress: Progress = SILENT,
    only: frozenset[str] | None = None,
) -> RunSummary:
    """Bring the embeddings of a manifest's images up to date, as `linnaeus embed` does.

    Of all of them, or of those `only` that have these URIs.

    Raises:
        StorageError: If the workspace cannot be read or written.
        ReconciliationError: If the counts do not add up.
    """
    executor = InThisProcess(lambda run: Worker(workspace, run))
    job = EmbedJob(spec.fingerprint, only=only)
    return run_job(workspace, job, manifest, executor, progress)

"""Pictures, and their embeddings by a network that gives back the pixels it sees."""

from pathlib import Path

from linnaeus import manifests
from linnaeus.jobs import InThisProcess, run_job
from linnaeus.manifests import Manifest
from linnaeus.models import ModelBackbone
from linnaeus.planning import EmbedJob
from linnaeus.progress import SILENT
from linnaeus.storage import Folder
from tests.buckets import TestWorker, png
from tests.pixel_engine import SPEC

BACKBONE = ModelBackbone("pixels@8", SPEC.fingerprint, 8, 8, SPEC.embedding_size)


def put(folder: Path, seed: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{seed:04d}.png"
    path.write_bytes(png(seed))
    return path


def embedded(workspace: Folder, source: Path) -> Manifest:
    manifest = manifests.freeze(workspace, str(source))
    executor = InThisProcess(lambda run: TestWorker(workspace, run))
    run_job(workspace, EmbedJob(SPEC.fingerprint), manifest, executor, SILENT)
    return manifest

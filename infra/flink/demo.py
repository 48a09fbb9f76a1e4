"""Both jobs on a real Flink inside Beam's job server, held against the local run.

python -m infra.flink.demo
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from infra.flink import downloads
from linnaeus import Workspace, layout, preparation
from linnaeus.cli.demo import run_loop
from linnaeus.datasets import DATASETS, place
from linnaeus.errors import LinnaeusError, ReconciliationError
from linnaeus.process import leave_at_once, silence_libraries
from linnaeus.progress import count_text, for_stream
from linnaeus.records import OBJECTS
from linnaeus.storage import Folder, normalise
from linnaeus.tables import Table, read_matrix

DATASET = DATASETS["solar-cells"]
BEAM_OPTIONS = ("--runner=FlinkRunner", "--parallelism=2")
CONFIDENCE_TOLERANCE = 1e-5
"""A server's sums depend on how it batches rows."""


def main() -> None:
    """Fetch the job server, run both jobs here and on Flink, and compare."""
    progress = for_stream(sys.stderr)
    with progress.step("Fetch Beam's job server for Flink", None) as step:
        step.note(str(downloads.job_server().parent))
    images = _pictures()
    local = Workspace("workspace", progress)
    run_loop(local, DATASET, images, str(Path(images).parents[1] / f"{DATASET.name}-labels"))
    with TemporaryDirectory(prefix="linnaeus-flink-demo-") as folder:
        for part in ("backbones", "models"):
            shutil.copytree(Path(local.folder.uri) / part, Path(folder) / part)
        flink = Workspace(folder, progress)
        flink.embed(images, DATASET.backbone, beam_options=BEAM_OPTIONS)
        flink.score(images, DATASET.name, beam_options=BEAM_OPTIONS)
        rows = _compare(local, flink)
    print(f"Flink and this process say the same of {count_text(rows, 'pictures')}")


def _pictures() -> str:
    folder = Path(normalise("bucket")) / DATASET.name
    return str(place(DATASET.samples, folder, DATASET.images))


def _compare(local: Workspace, flink: Workspace) -> int:
    """How many pictures have equal vectors and labels in both workspaces.

    Raises:
        ReconciliationError: some differ.
    """
    objects = Table(flink.folder, layout.OBJECTS, OBJECTS).scan().read_all()
    digests = [str(digest) for digest in objects["sha256"].to_pylist()]
    if not np.array_equal(_vectors(local.folder, digests), _vectors(flink.folder, digests)):
        raise ReconciliationError("the embeddings made on Flink differ from those made here")
    here, there = _labels(local), _labels(flink)
    for uri, (label, confidence) in there.items():
        known, sure = here[uri]
        if label != known or abs(confidence - sure) > CONFIDENCE_TOLERANCE:
            raise ReconciliationError(f"{uri} is {label} on Flink and {known} here")
    return len(there)


def _vectors(workspace: Folder, digests: list[str]) -> np.ndarray:
    fingerprint = preparation.prepare(workspace, DATASET.backbone).fingerprint
    return np.array(read_matrix(workspace, fingerprint, digests))


def _labels(workspace: Workspace) -> dict[str, tuple[str, float]]:
    """Label and confidence by object; an object that failed has the empty label."""
    rows = workspace.labels(DATASET.name).to_arrow().to_pylist()
    return {row["uri"]: (row["label"] or "", row["confidence"] or 0.0) for row in rows}


if __name__ == "__main__":
    silence_libraries()
    try:
        main()
    except LinnaeusError as error:
        print(error, file=sys.stderr)
        leave_at_once(1)
    leave_at_once(0)

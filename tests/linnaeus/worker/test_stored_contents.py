"""A content that the table has is not embedded again, wherever its copies lie."""

import hashlib
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnaeus import layout, manifests
from linnaeus.jobs import InThisProcess, RunSummary, run_job
from linnaeus.planning import EmbedJob, Job, ScoreJob
from linnaeus.progress import SILENT
from linnaeus.records import PREDICTIONS
from linnaeus.storage import Folder
from linnaeus.tables import StoredContents, Table
from tests.buckets import TestWorker, fill
from tests.pixel_engine import SPEC

EMBED = EmbedJob(SPEC.fingerprint)
SCORE = ScoreJob(SPEC.fingerprint, "labels", 1, "embedding")


def carried_out(workspace: Folder, job: Job, images: Path) -> RunSummary:
    executor = InThisProcess(lambda run: TestWorker(workspace, run))
    return run_job(workspace, job, manifests.freeze(workspace, str(images)), executor, SILENT)


@pytest.mark.parametrize("job", [EMBED, SCORE])
def test_copied_files_are_not_embedded_again(workspace: Folder, tmp_path: Path, job: Job):
    first = fill(tmp_path / "bucket", 6)
    assert carried_out(workspace, EMBED, first).counts.embedded == 6
    copies = Path(shutil.copytree(first, tmp_path / "copies"))
    fill(copies, 1, first=6)
    counts = carried_out(workspace, job, copies).counts
    assert (counts.done, counts.failed, counts.embedded) == (7, 0, 1)


def test_a_copy_gets_the_labels_of_its_content(workspace: Folder, tmp_path: Path):
    first = fill(tmp_path / "bucket", 6)
    carried_out(workspace, SCORE, first)
    copies = shutil.copytree(first, tmp_path / "copies")
    carried_out(workspace, SCORE, Path(copies))
    rows = Table(workspace, layout.predictions("labels"), PREDICTIONS).scan().read_all()
    said: dict[str, list[tuple[str, float]]] = {}
    for row in rows.to_pylist():
        said.setdefault(row["sha256"], []).append((row["label"], row["confidence"]))
    assert len(said) == 6
    assert all(len(answers) == 2 and len(set(answers)) == 1 for answers in said.values())


class Digests:
    """An embedding table as far as its digests go."""

    def __init__(self, parts: list[list[str]]) -> None:
        self._parts = parts
        self.parts = [f"part-{number}" for number in range(len(parts))]

    def digests(self):
        for number, digests in enumerate(self._parts):
            yield number, pa.array(digests, pa.string()), pa.array(range(len(digests)), pa.int64())


def digest(seed: int) -> str:
    """Digests of which many share their first or their second 64 bits."""
    half = [hashlib.sha256(bytes([n])).hexdigest()[:16] for n in (seed % 3, seed // 3 % 3)]
    return half[0] + half[1] + hashlib.sha256(b"").hexdigest()[:32]


@given(st.lists(st.lists(st.integers(0, 8), max_size=6), max_size=4))
def test_a_vector_is_found_where_it_lies_and_nowhere_else(parts: list[list[int]]):
    digests = [[digest(seed) for seed in part] for part in parts]
    stored = StoredContents(Digests(digests))  # type: ignore[arg-type]
    for seed in range(9):
        places = {
            (f"part-{number}", row)
            for number, part in enumerate(digests)
            for row, one in enumerate(part)
            if one == digest(seed)
        }
        assert (digest(seed) in stored) == bool(places)
        if places:
            assert stored.place(digest(seed)) in places
        else:
            with pytest.raises(KeyError):
                stored.place(digest(seed))

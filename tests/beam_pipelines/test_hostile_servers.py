"""Model servers that lie, one way each: a run ends in one line and has written nothing."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beam_pipelines.worker_options import WorkerOptions, open_worker
from linnaeus import layout, manifests, models, runs
from linnaeus.errors import LinnaeusError
from linnaeus.jobs import InThisProcess, RunSummary, run_job
from linnaeus.progress import SILENT
from linnaeus.records import FAILURES, PREDICTIONS
from linnaeus.storage import Folder
from linnaeus.tables import Table
from linnaeus.training.evaluation.decisions import DecisionRule
from serving.client import retries, scoring
from tests import colour_model, pictures
from tests.beam_pipelines import hostile
from tests.beam_pipelines.hostile import Hostile, Lie, changing, changing_all
from tests.colour_model import LABELS, NAME

pytestmark = pytest.mark.slow
PICTURES = 24


@pytest.fixture(scope="module")
def published(prepared_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A workspace with the colour model."""
    root = tmp_path_factory.mktemp("hostile") / "workspace"
    workspace = Folder(str(shutil.copytree(prepared_once, root)))
    colour_model.publish(workspace, DecisionRule(LABELS))
    return workspace


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bucket")
    chance = np.random.default_rng(0)
    for number in range(PICTURES):
        tint = np.eye(3)[number % 3] * 90
        pixels = np.clip(chance.integers(0, 160, (8, 8, 3)) + tint, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04d}.png")
    return folder


def score(
    workspace: Folder, bucket: Path, server: str, payload: str, gate: bool = True
) -> RunSummary:
    """The job without Beam."""
    manifest = manifests.freeze(workspace, str(bucket))
    job = runs.scoring_by(models.load_model(workspace, NAME), payload)

    def worker(run: Any) -> Any:
        options = WorkerOptions(workspace.uri, run.run_id, server=server, skew_gate=gate)
        return open_worker(options)

    return run_job(workspace, job, manifest, InThisProcess(worker), SILENT)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0.001)


@pytest.fixture
def fresh(published: Folder, tmp_path: Path) -> Folder:
    """A copy of it that is written to."""
    return Folder(str(shutil.copytree(published.uri, tmp_path / "fresh")))


def rows(workspace: Folder, table: str, schema: Any) -> list[dict[str, Any]]:
    return Table(workspace, table, schema).scan().read_all().to_pylist()


LIES: dict[str, Lie] = {
    "no number": changing("confidence", lambda array: array * np.nan),
    "infinite": changing("top_scores", lambda array: array + np.inf),
    "five": changing("confidence", lambda array: array * 0 + 5),
    "below 0": changing_all(lambda array: -array if array.dtype == "float32" else array),
    "another confidence": changing("confidence", lambda array: array / 2),
    "worst first": changing("top_scores", lambda array: array[:, ::-1]),
    "unknown labels": changing("top_labels", lambda array: array + b"s"),
    "an empty label": changing("top_labels", hostile.ending_in(b"")),
    "unsure among the labels": changing("top_labels", hostile.ending_in(b"unknown")),
    "label unlike the best": changing("label", hostile.swapped),
    "swapped labels": changing_all(
        lambda array: hostile.swapped(array) if array.dtype == object else array
    ),
    "unsure of all": changing("label", lambda array: np.full_like(array, b"unknown")),
    "a column": changing("confidence", lambda array: array[:, None]),
    "a row": changing("top_scores", lambda array: array[:, 0]),
    "labels as numbers": changing("label", lambda array: np.arange(len(array))),
    "scores as doubles": changing("top_scores", lambda array: array.astype("float64")),
    "no UTF-8": changing_all(lambda array: array + b"\xff" if array.dtype == object else array),
    "fewer labels": lambda outputs, _: {
        name: array[:, :-1] if array.ndim > 1 else array for name, array in outputs.items()
    },
    "no label": lambda outputs, _: {k: v for k, v in outputs.items() if k != "label"},
    "nothing": lambda outputs, _: {},
    "too few rows": changing_all(lambda array: array[:-1]),
    "no rows": changing_all(lambda array: array[:0]),
    "too many rows": changing_all(lambda array: np.concatenate([array, array])),
    "fewer confidences": changing("confidence", lambda array: array[1:]),
    "reversed": changing_all(lambda array: array[::-1]),
    "moved on": changing_all(lambda array: np.roll(array, 1, axis=0)),
    "another model": hostile.named(hostile.ANOTHER, 1),
    "another version": hostile.named(NAME, 2),
    "a shape beyond memory": hostile.of_shape("confidence", 1 << 40),
    "a shape below 0": hostile.of_shape("confidence", -25),
    "a rank beyond NumPy": hostile.of_shape("confidence", *[1] * 99),
    "denied": hostile.aborting("PERMISSION_DENIED", "a\x1b[2J\r\nb" * 900),
    "internal": hostile.aborting("INTERNAL", "a\x00b"),
    "refuses": hostile.aborting("INVALID_ARGUMENT", "no\u202e" * 900),
    "too large": hostile.aborting("RESOURCE_EXHAUSTED", "Sent message larger than max (9 vs. 4)"),
    "no such output": hostile.aborting("INVALID_ARGUMENT", "output tensor alias not found"),
    "gigantic": changing("label", lambda array: np.append(array[:-1], b"red" * (23 << 20))),
}


OF_IMAGES = ("reversed", "moved on", "swapped labels", "internal", "refuses", "too large")
"""Lies that are found out otherwise where the server decodes."""


@pytest.mark.parametrize(
    ("lie", "payload"),
    [*((lie, "embedding") for lie in LIES), *((lie, "image") for lie in OF_IMAGES)],
)
def test_a_lie_ends_the_run_in_one_line_and_nothing_is_written(
    published: Folder, bucket: Path, lie: str, payload: str
):
    server = Hostile()

    def turning(outputs: Any, context: Any) -> Any:
        # The checked row alone is answered truly at first.
        return LIES[lie](outputs, context) if server.asked > 1 else outputs

    server.lie = turning
    with server.serving() as address, pytest.raises(LinnaeusError) as caught:
        score(published, bucket, address, payload)
    text = str(caught.value)
    assert len(text) < 1500
    assert text.isprintable()
    assert rows(published, layout.predictions(NAME), PREDICTIONS) == []
    assert rows(published, layout.FAILURES, FAILURES) == []


def test_rows_that_are_mixed_up_between_the_first_and_the_last_are_seen(
    published: Folder, bucket: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(scoring.random, "choice", lambda places: places[len(places) // 3])

    def roll_inner(rows: Any) -> Any:
        inner = np.roll(rows[1:-1], 1, axis=0)
        return np.concatenate([rows[:1], inner, rows[-1:]]) if len(rows) > 2 else rows

    server = Hostile(changing_all(roll_inner))
    with server.serving() as address, pytest.raises(LinnaeusError, match="it mixes rows up"):
        score(published, bucket, address, "embedding")


@pytest.mark.parametrize("payload", ["embedding", "image"])
def test_labels_that_are_swapped_once_the_gate_is_passed_are_seen(
    published: Folder, bucket: Path, payload: str
):
    server = Hostile(LIES["swapped labels"])
    with server.serving() as address, pytest.raises(LinnaeusError, match="of the golden image"):
        score(published, bucket, address, payload)


def test_rows_that_are_mixed_up_are_seen_without_a_skew_gate(published: Folder, bucket: Path):
    server = Hostile(changing_all(lambda array: array[::-1]))
    with server.serving() as address, pytest.raises(LinnaeusError, match="it mixes rows up"):
        score(published, bucket, address, "pixels", gate=False)


def test_a_server_that_refused_everything_condemned_nothing(fresh: Folder, bucket: Path):
    server = Hostile(hostile.aborting("INVALID_ARGUMENT", "no"))
    with server.serving() as address:
        with pytest.raises(LinnaeusError, match="refuses even the golden image"):
            score(fresh, bucket, address, "image", gate=False)
        server.lie = Hostile().lie
        assert score(fresh, bucket, address, "image").counts.done == PICTURES


class Refusing(Hostile):
    """Refuses requests with some pictures in them, and says why."""

    bad: frozenset[bytes] = frozenset()
    code = "INVALID_ARGUMENT"

    def truth(self, request: Any) -> hostile.Outputs:
        [rows] = request.inputs.values()
        if self.bad & set(rows.string_val):
            raise hostile.Refusal(self.code)
        return super().truth(request)


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "INTERNAL"])
def test_a_picture_that_only_the_server_refuses_is_tried_again(
    fresh: Folder, bucket: Path, code: str
):
    server, paths = Refusing(), sorted(bucket.glob("*.png"))[:9]
    server.bad, server.code = frozenset(path.read_bytes() for path in paths), code
    with server.serving() as address:
        assert score(fresh, bucket, address, "image").counts.codes == {"SERVER_ERROR": 9}
        [one, *_] = rows(fresh, layout.FAILURES, FAILURES)
        assert "this machine decodes it" in one["message"]
        server.bad = frozenset()
        assert score(fresh, bucket, address, "image").counts.done == 9


def test_what_this_machine_cannot_decode_either_has_its_own_code_for_ever(
    fresh: Folder, tmp_path: Path
):
    files = (8 * b"x", pictures.png(), pictures.rgb16_tiff(), pictures.png()[:40], b"")
    folder = tmp_path / "mixed"
    folder.mkdir()
    for number, data in enumerate(files):
        (folder / f"{number}.png").write_bytes(data)
    server = Refusing()
    server.bad = frozenset({pictures.rgb16_tiff()})
    expected = {"CORRUPT": 1, "EMPTY": 1, "NOT_AN_IMAGE": 1, "UNSUPPORTED": 1}
    with server.serving() as address:
        counts = score(fresh, folder, address, "image").counts
        assert (counts.done, counts.codes) == (1, expected)
        assert score(fresh, folder, address, "image").run_id is None

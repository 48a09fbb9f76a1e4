"""A picture that kills its decoder costs neither the worker nor another picture."""

from pathlib import Path

import pytest

from linnaeus import layout, manifests, runs
from linnaeus.errors import FailureCode, ImageError
from linnaeus.images import isolation
from linnaeus.images.isolation import IsolatedDecoder
from linnaeus.planning import EmbedJob
from linnaeus.records import FAILURES
from linnaeus.storage import Folder
from linnaeus.tables import Table
from linnaeus.worker import do_shard
from linnaeus.worker.shards import seen_here
from tests import killing_decoder, pictures
from tests.buckets import TestWorker, fill
from tests.pixel_engine import SPEC

EMBED = EmbedJob(SPEC.fingerprint)


def test_a_deadly_picture_is_recorded_at_the_first_attempt_and_the_others_are_embedded(
    workspace: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(IsolatedDecoder, "decode_function", "tests.killing_decoder:decode")
    monkeypatch.setattr(isolation, "_POOL", isolation._Pool())
    bucket = fill(tmp_path / "bucket", 10)
    (bucket / "even" / "killer.png").write_bytes(killing_decoder.KILLER)
    manifest = manifests.freeze(workspace, str(bucket))
    run = runs.create_run(workspace, EMBED, runs.make_plan(workspace, EMBED, manifest))
    receipt = do_shard(TestWorker(workspace, run), 0)
    assert (receipt.counts.done, receipt.counts.codes) == (10, {"CRASHED": 1})
    runs.commit(workspace, run.run_id)
    [failure] = Table(workspace, layout.FAILURES, FAILURES).scan().read_all().to_pylist()
    assert failure["uri"].endswith("killer.png")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (pictures.blank_png(8_000, 7_000, 0, 1), FailureCode.TOO_LARGE),
        (pictures.bomb(), FailureCode.TOO_LARGE),
        (pictures.png(), FailureCode.SERVER_ERROR),
    ],
    ids=["more pixels than a graph takes", "than this machine takes", "few"],
)
def test_what_has_more_pixels_than_an_exported_graph_takes_is_not_sent_again(
    data: bytes, code: FailureCode
):
    judged = seen_here(ImageError("no", FailureCode.CORRUPT, data))
    assert isinstance(judged, ImageError)
    assert judged.code is code


@pytest.mark.parametrize(
    ("data", "said", "code"),
    [
        (pictures.encode(pictures.scene(), "TIFF"), FailureCode.UNSUPPORTED, "UNSUPPORTED"),
        (pictures.encode(pictures.scene(), "TIFF"), FailureCode.CORRUPT, "UNSUPPORTED"),
        (pictures.few_bits_bmp(), FailureCode.UNSUPPORTED, "UNSUPPORTED"),
        (pictures.few_bits_bmp(), FailureCode.CORRUPT, "SERVER_ERROR"),
        (pictures.jpeg(), FailureCode.UNSUPPORTED, "SERVER_ERROR"),
    ],
    ids=["tiff", "tiff as damaged", "bmp of one bit", "bmp as damaged", "jpeg"],
)
def test_a_format_that_exported_graphs_refuse_is_not_sent_again(
    data: bytes, said: FailureCode, code: str
):
    judged = seen_here(ImageError("no", said, data))
    assert isinstance(judged, ImageError)
    assert judged.code == code

"""The whole loop on this machine: what a person gets from a bucket of labelled pictures."""

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from linnaeus.errors import ConfigurationError, FingerprintMismatch, ServingError
from linnaeus.models import load_model
from linnaeus.training.config import TrainConfig
from tests import pictures
from tests.end_to_end.conftest import BACKBONE, COLOURS, fill, picture
from tests.servers import served

pytestmark = pytest.mark.slow


def colour_of(uri: str) -> str:
    return Path(uri).parent.name


def test_a_trained_model_is_right_about_easy_pictures(loop):
    model = load_model(loop.workspace.folder, "colours")
    assert model.labels == tuple(sorted(COLOURS))
    assert model.metrics["test"]["accuracy"] > 0.9
    assert loop.workspace.evaluate(str(loop.bucket), "colours")["accuracy"] > 0.9


def test_labels_come_from_sql_from_pandas_and_from_the_files(loop, server, tmp_path):
    output = tmp_path / "out"
    summary = loop.workspace.score(str(loop.bucket), "colours", server=server, output=str(output))
    assert (summary.counts.done, summary.counts.embedded) == (120, 0)
    frame = loop.workspace.labels("colours").to_pandas()
    by_pandas = dict(zip(frame.uri, frame.label, strict=True))
    labels = DeltaTable(loop.workspace.labels("colours").uri).to_pyarrow_dataset()
    rows = duckdb.from_arrow(labels).filter("status = 'labelled'").project("uri, label")
    by_sql = dict(rows.fetchall())
    files = pq.read_table(output, columns=["uri", "label"]).to_pylist()
    by_files = {row["uri"]: row["label"] for row in files}
    assert by_pandas == by_sql == by_files
    right = sum(colour_of(uri) == label for uri, label in by_sql.items())
    assert len(by_sql) == 120
    assert right > 110
    success = json.loads((output / "_SUCCESS.json").read_text())
    assert (success["rows"], success["labelled"], success["failed"]) == (120, 120, 0)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_labels_are_written_as_text_too(loop, server, tmp_path, form):
    output = tmp_path / form
    loop.workspace.score(
        str(loop.bucket), "colours", server=server, output=str(output), format=form
    )
    [part] = output.glob("part-*")
    lines = part.read_text().splitlines()
    assert len(lines) == 120 + (form == "csv")
    assert '"label"' in lines[0]


def test_scoring_again_asks_nobody(loop, server):
    loop.workspace.score(str(loop.bucket), "colours", server=server)
    again = loop.workspace.score(str(loop.bucket), "colours", server="127.0.0.1:1")
    assert again.run_id is None
    assert again.counts.skipped == 120


def test_without_a_server_one_is_started_for_the_run(loop):
    summary = loop.workspace.score(str(loop.bucket), "colours")
    assert summary.counts.done == 120


@pytest.mark.parametrize("payload", ["embedding", "pixels", "image"])
def test_new_pictures_are_labelled_whatever_is_sent(loop, server, tmp_path, payload):
    new = fill(tmp_path / "new", 5, first=500)
    (new / "red" / "broken.jpg").write_bytes(picture("red", 1)[:300])
    summary = loop.workspace.score(str(new), "colours", server=server, payload=payload)
    assert (summary.counts.done, summary.counts.failed) == (15, 1)
    assert summary.counts.embedded == (15 if payload == "embedding" else 0)
    frame = loop.workspace.labels("colours").to_pandas()
    labelled = frame[frame.status == "labelled"]
    assert (labelled.label == labelled.uri.map(colour_of)).mean() > 0.9
    [failed] = frame[frame.status == "failed"].itertuples()
    assert failed.uri.endswith("broken.jpg")
    assert failed.code == "CORRUPT"


def test_what_a_server_cannot_decode_has_a_code_and_words_of_its_own(loop, server, tmp_path):
    new = fill(tmp_path / "new", 1, first=500)
    (new / "red" / "empty.jpg").write_bytes(b"")
    (new / "red" / "text.jpg").write_text("no picture")
    (new / "red" / "cut.jpg").write_bytes(picture("red", 1)[:300])
    (new / "red" / "bomb.png").write_bytes(pictures.bomb(20_000, 20_000))
    loop.workspace.score(str(new), "colours", server=server, payload="image")
    frame = loop.workspace.labels("colours").to_pandas()
    failed = frame[frame.status == "failed"]
    codes = {Path(row.uri).stem: row.code for row in failed.itertuples()}
    assert codes.pop("bomb") == "TOO_LARGE"
    assert codes == {"empty": "EMPTY", "text": "NOT_AN_IMAGE", "cut": "CORRUPT"}
    assert not any("{{" in message for message in failed.message)


def test_a_photo_is_labelled_as_its_embedding_would_be(loop, server):
    loop.workspace.score(str(loop.bucket), "colours", server=server)
    row = loop.workspace.labels("colours").to_pandas().iloc[0]
    [photo] = loop.workspace.label([row.uri], "colours")
    assert photo.labels[0][0] == row.top_labels[0]
    assert photo.labels[0][1] == pytest.approx(row.top_scores[0], rel=1e-4)


def test_an_older_version_can_be_asked_for(loop, monkeypatch):
    monkeypatch.setattr("serving.local.start_server", served)
    loop.workspace.train(str(loop.bucket), "colours", TrainConfig(BACKBONE, head="linear"))
    newest = loop.workspace.score(str(loop.bucket), "colours")
    assert newest.counts.done == 120
    frame = loop.workspace.labels("colours").to_pandas()
    assert set(frame.model_version) == {2}
    loop.workspace.score(str(loop.bucket), "colours:1")
    assert set(loop.workspace.labels("colours").to_pandas().model_version) == {1}


def test_status_and_plan_say_what_is_there(loop, server):
    plan = loop.workspace.plan(str(loop.bucket), BACKBONE)
    assert (plan.objects, plan.to_embed, plan.up_to_date) == (120, 0, 120)
    status = loop.workspace.status()
    assert status["tables"]["objects"] == 120
    assert [m["model"] for m in status["models"]] == ["colours:1"]


def test_a_plan_of_new_pictures_estimates_its_time(loop, tmp_path):
    new = fill(tmp_path / "new", 5, first=900)
    plan = loop.workspace.plan(str(new), BACKBONE)
    assert plan.to_embed == 15
    assert plan.to_read_bytes == sum(path.stat().st_size for path in new.rglob("*.jpg"))
    assert plan.estimated_seconds["float32"] > 0


def test_a_server_that_is_not_there_is_named_with_the_remedy(loop):
    with pytest.raises(ServingError, match=r"127\.0\.0\.1:1\b"):
        loop.workspace.score(str(loop.bucket), "colours", server="127.0.0.1:1")


def test_a_model_that_does_not_exist_is_named_beside_those_that_do(loop):
    with pytest.raises(ConfigurationError, match="colours"):
        loop.workspace.score(str(loop.bucket), "colors")


def test_a_model_whose_backbone_is_not_here_is_refused(loop):
    for path in (loop.root / "backbones").rglob("spec.json"):
        path.unlink()
    with pytest.raises(FingerprintMismatch, match="pixels@8"):
        loop.workspace.score(str(loop.bucket), "colours")


def test_workers_import_no_tensorflow(loop, server, tmp_path):
    """A scoring run that embeds and asks a server, as a process: TensorFlow stays away."""
    new = fill(tmp_path / "new", 2, first=700)
    script = (
        "import sys; from linnaeus import Workspace\n"
        f"Workspace({str(loop.root)!r}).score({str(new)!r}, 'colours', "
        f"server={server!r})\n"
        "assert 'apache_beam' in sys.modules\n"
        "assert not [m for m in sys.modules if m.partition('.')[0] == 'tensorflow']\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_a_client_of_the_stubs_alone_gets_labels_for_jpeg_bytes(server):
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "colours"
    pictures = [picture("red", 77), picture("blue", 78)]
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(pictures))
    with grpc.insecure_channel(server) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(request, timeout=30)
    assert list(response.outputs["label"].string_val) == [b"red", b"blue"]


def test_a_pipeline_of_ones_own_gets_labels(loop, server, tmp_path):
    import apache_beam as beam
    from apache_beam.testing.util import assert_that

    from beam_pipelines.transforms import ScoreImages
    from linnaeus.records import ObjectReference

    new = fill(tmp_path / "new", 3, first=600)
    (new / "red" / "broken.jpg").write_bytes(picture("red", 1)[:300])
    references = [ObjectReference(str(p), None, p.stat().st_size) for p in new.rglob("*.jpg")]

    def labelled_by_colour(rows):
        assert len(rows) == 9
        assert sum(row["label"] == colour_of(row["uri"]) for row in rows) >= 8

    def one_corrupt(rows):
        assert [row["code"] for row in rows] == ["CORRUPT"]

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        score = ScoreImages(str(loop.root), "colours", server)
        done = pipeline | beam.Create(references) | score
        assert_that(done.rows, labelled_by_colour, label="rows")
        assert_that(done.failures, one_corrupt, label="failures")

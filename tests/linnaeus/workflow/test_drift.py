"""Drift of a scoring run against what its model was trained on, over stored tables."""

import io
import json
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from linnaeus import manifests
from linnaeus.jobs import InThisProcess, run_job
from linnaeus.models import DESCRIPTION, Model, ModelBackbone, version_prefix
from linnaeus.planning import EmbedJob, ScoreJob
from linnaeus.progress import SILENT
from linnaeus.storage import Folder
from linnaeus.tables import EmbeddingTable, query, read_matrix
from linnaeus.training.config import SplitConfig
from linnaeus.training.data import dataset
from linnaeus.workflow.drift import measuring, sampled_moments
from linnaeus.workflow.drift import reference as references
from linnaeus.workflow.drift.reference import reference_key, reference_of
from linnaeus.workflow.drift.sampled_moments import sampled_places, stored_moments
from tests.buckets import TestWorker, fill
from tests.linnaeus import stored_rows
from tests.pixel_engine import SIZE, SPEC

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Scored:
    """A model of 150 pictures, and runs of it over 60 of their kind, 60 bright ones and 5."""

    workspace: Folder
    model: Model
    alike: str
    bright: str
    few: str


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drift")
    workspace = Folder(str(folder / "workspace"))
    trained = manifests.freeze(workspace, str(fill(folder / "trained", 150)))
    run(workspace, EmbedJob(SPEC.fingerprint), trained)
    model = publish(workspace, trained.id)
    (folder / "bright").mkdir()
    for number in range(60):
        (folder / "bright" / f"{number}.png").write_bytes(bright(number))
    fill(folder / "alike", 60, first=500)
    fill(folder / "few", 5, first=900)
    names, job = ("alike", "bright", "few"), ScoreJob(SPEC.fingerprint, "m", 1, "embedding")
    frozen = [manifests.freeze(workspace, str(folder / name)) for name in names]
    return Scored(workspace, model, *(run(workspace, job, one) for one in frozen))


def bright(seed):
    pixels = np.random.default_rng(seed).integers(200, 256, (SIZE, SIZE, 3), np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def run(workspace, job, manifest):
    executor = InThisProcess(lambda spec: TestWorker(workspace, spec))
    return run_job(workspace, job, manifest, executor, SILENT).run_id


def publish(workspace, manifest_id):
    model = Model(
        "m",
        1,
        ("even", "odd"),
        ModelBackbone.of(SPEC),
        hyperparameters={"split": {"validation_percentage": 20.0, "by": "root-relative"}},
        data={"manifest_id": manifest_id},
    )
    workspace.write(f"{version_prefix('m', 1)}/{DESCRIPTION}", model.to_json().encode())
    return model


def test_pictures_of_the_same_kind_have_not_drifted(scored):
    found = measuring.of_scoring_run(scored.workspace, "m", 1, scored.alike)
    assert (found.model, found.why_not, found.unknown_share) == ("m:1", "", 0.0)
    assert (found.embeddings.images, found.embeddings.level) == (60, "none")


def test_brighter_pictures_have(scored):
    found = measuring.of_scoring_run(scored.workspace, "m", 1, scored.bright)
    assert found.embeddings.level == "large"
    assert found.labels.level == "large"
    assert "bright" in {mover.label for mover in found.labels.movers}


def test_a_handful_is_too_few(scored):
    found = measuring.of_scoring_run(scored.workspace, "m", 1, scored.few)
    assert (found.embeddings.level, found.labels.level) == ("too few", "too few")
    assert found.labels.images == 5


def test_the_reference_is_of_the_training_split_and_made_once(scored, monkeypatch):
    workspace, model = scored.workspace, replace(scored.model, version=7)
    found = reference_of(workspace, model)
    trained = training_images(workspace, model)
    assert found.images == len(trained) < 130
    assert sum(found.labels.values()) == found.images
    assert set(found.labels) == {"even", "odd"}
    rows = read_matrix(workspace, SPEC.fingerprint, trained)
    np.testing.assert_allclose(found.moments.mean, rows.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.moments.variance, rows.var(axis=0), rtol=1e-4)
    monkeypatch.setattr(references, "_measured", lambda *_: pytest.fail("made again"))
    again = reference_of(workspace, model)
    assert again.labels == found.labels
    np.testing.assert_array_equal(again.moments.mean, found.moments.mean)
    assert json.loads(workspace.read(reference_key(model)))["sampled"] == found.images


def training_images(workspace, model):
    """Contents of the model's training split, by the trainer's own way."""
    manifest = manifests.describe(workspace, model.data["manifest_id"])
    used = dataset.usable(dataset.image_fates(workspace, manifest, SPEC.fingerprint))
    split = SplitConfig(**model.hyperparameters["split"])
    used = used.append_column("given", dataset.assign(workspace, used, split, SPEC.fingerprint))
    found = query("SELECT sha256 FROM used WHERE given = 'train'", {"used": used})
    return found["sha256"].to_pylist()


def wanted(digests):
    return pa.table({"sha256": pa.array(digests, pa.string())})


def test_vectors_that_are_not_stored_are_left_out(scored):
    trained = training_images(scored.workspace, scored.model)
    found = stored_moments(scored.workspace, SPEC.fingerprint, wanted([*trained, "0" * 64]))
    assert found.count == len(trained)


@pytest.mark.parametrize(
    ("version", "run_id", "why"),
    [
        (None, "01", "nothing was labelled"),
        (1, None, "nothing was labelled"),
        (1, "01NONE", "nothing was labelled"),
        (4, "01", "no model 'm:4'"),
    ],
)
def test_what_cannot_be_measured_is_said(scored, version, run_id, why):
    found = measuring.of_scoring_run(scored.workspace, "m", version, run_id)
    assert why in found.why_not
    assert found.embeddings is None


def test_a_model_whose_images_are_not_known_is_no_error(scored):
    workspace = scored.workspace
    stranger = replace(scored.model, version=9, data={})
    text = stranger.to_json().encode()
    workspace.write(f"{version_prefix('m', 9)}/{DESCRIPTION}", text)
    found = measuring.of_scoring_run(workspace, "m", 9, scored.alike)
    assert "does not say which images it was trained on" in found.why_not


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """200 contents of 40 parts, some of them twice."""
    workspace = Folder(str(tmp_path_factory.mktemp("table")))
    embeddings = stored_rows.table_in(workspace)
    for number in range(40):
        contents = [f"{number * 5 + i:064x}" for i in range(5)] + [f"{number:064x}"]
        stored_rows.add_run(embeddings, f"R{number:02d}", contents)
    return EmbeddingTable(workspace, stored_rows.FINGERPRINT)


def test_few_contents_are_all_looked_at_once(table):
    digests = [f"{number:064x}" for number in range(3, 300)]
    places = sampled_places(table, wanted(digests), 197)
    found = [digest for rows in places.values() for digest in rows]
    assert sorted(found) == digests[:197]
    for part, rows in places.items():
        stored = table.vectors(part, list(rows.values()))
        expected = [stored_rows.vector_of(digest) for digest in rows]
        np.testing.assert_array_equal(stored, expected)


@pytest.mark.parametrize("size", [1, 17, 60, 196])
def test_a_sample_has_its_size_and_does_not_depend_on_the_order(table, size, monkeypatch):
    monkeypatch.setattr(sampled_moments, "BLOCKS", 8)
    digests = [f"{number:064x}" for number in range(200)]
    places = sampled_places(table, wanted(digests), size)
    assert sum(map(len, places.values())) == size
    assert places == sampled_places(table, wanted(digests[::-1]), size)


def test_a_sample_is_of_few_parts(table, monkeypatch):
    monkeypatch.setattr(sampled_moments, "BLOCKS", 4)
    places = sampled_places(table, wanted([f"{number:064x}" for number in range(200)]), 20)
    assert len(places) == 4


def test_the_moments_of_a_sample_are_those_of_its_vectors(table, monkeypatch):
    monkeypatch.setattr(sampled_moments, "_STACKED", 7)
    digests = [f"{number:064x}" for number in range(200)]
    workspace = table.table.workspace
    found = stored_moments(workspace, stored_rows.FINGERPRINT, wanted(digests))
    rows = np.stack([stored_rows.vector_of(digest) for digest in digests])
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.variance, rows.var(axis=0), rtol=1e-4)

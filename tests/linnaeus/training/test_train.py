import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from linnaeus import images, layout, manifests, preparation
from linnaeus.engines import open_engine
from linnaeus.errors import ConfigurationError, FingerprintMismatch, GateFailed
from linnaeus.jobs import InThisProcess, run_job
from linnaeus.manifests import Manifest
from linnaeus.models import Model, load_model
from linnaeus.planning import EmbedJob
from linnaeus.progress import SILENT
from linnaeus.storage import Folder
from linnaeus.training.config import (
    GateConfig,
    LayersConfig,
    LinearConfig,
    SplitConfig,
    TrainConfig,
)
from linnaeus.worker import Worker
from tests.pictures import encode

pytestmark = pytest.mark.slow

SMALL = "pixels@12"
LABELS = ("a b", "größe", "x,y")


def paint(folder: Path, images_a_label: int = 30, seed: int = 0) -> Path:
    """Pictures that differ by their dominant colour, under awkward labels."""
    rng = np.random.default_rng(seed)
    for channel, label in enumerate(LABELS):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(images_a_label):
            pixels = rng.integers(0, 150, (20, 30, 3))
            pixels[..., channel] += 60
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{number:03d}.png")
    return folder


def embedded(workspace: Folder, source: Path, backbone: str = SMALL) -> Manifest:
    """Freezes and embeds, with the real engine, without Beam."""
    manifest = manifests.freeze(workspace, str(source))
    spec = preparation.prepare(workspace, backbone)
    executor = InThisProcess(lambda run: Worker(workspace, run))
    run_job(workspace, EmbedJob(spec.fingerprint), manifest, executor, SILENT)
    return manifest


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(str(tmp_path_factory.mktemp("training") / "workspace"))


@pytest.fixture(scope="module")
def manifest(workspace: Folder) -> Manifest:
    return embedded(workspace, paint(Path(workspace.uri).parent / "colours"))


@pytest.fixture(scope="module")
def model(workspace: Folder, manifest: Manifest) -> Model:
    from linnaeus.training.train import train

    return train(workspace, manifest, "colours", TrainConfig(backbone=SMALL))


def test_a_trained_model_is_tested_on_held_out_images(model: Model) -> None:
    test = model.metrics["test"]
    assert test["accuracy"] > 0.9
    assert test["images"] == model.data["images"]["test"] > 3
    low, high = test["accuracy_interval"]
    assert low < test["accuracy"] <= high
    assert set(test["classes"]) == set(LABELS)
    assert set(model.metrics) == {"test", "validation"}


def test_all_labels_that_were_not_tested_are_told() -> None:
    from linnaeus.training.train import _note

    def evaluation(**support: int) -> Any:
        classes = [SimpleNamespace(label=label, support=count) for label, count in support.items()]
        return SimpleNamespace(classes=classes, abstention=None)

    many = {f"l{number:02d}": 0 for number in range(30)}
    evaluations = {"test": evaluation(bird=0, cat=3, owl=0), "validation": evaluation(**many)}
    told: list[str] = []
    step: Any = SimpleNamespace(note=told.append)
    assessment: Any = SimpleNamespace(evaluations=evaluations)
    _note(step, assessment, {"near_duplicates": {"found": 0}})
    first, _, second = told[0].partition("; ")
    assert first == "no test image has 'bird', 'owl'"
    assert second.startswith("no validation image has 'l00', 'l01', ")
    assert second.endswith("'l19' and 10 more")


def test_what_is_published_is_what_is_returned(workspace: Folder, model: Model) -> None:
    assert load_model(workspace, "colours:1") == Model.from_json(model.to_json(), "")
    folder = Path(workspace.uri_of(model.prefix))
    assert {path.name for path in folder.iterdir()} >= {
        "saved_model.pb",
        "variables",
        "assets.extra",
        "labels.txt",
        "linnaeus.json",
        "golden",
    }
    stored = json.loads((folder / "linnaeus.json").read_text("utf-8"))
    assert stored["labels"] == list(LABELS)
    assert stored["data"]["embeddings_version"] is not None
    assert stored["hyperparameters"]["chosen"]["temperature"] > 0
    assert stored["libraries"]["tensorflow"]


def test_evaluating_its_own_source_judges_the_test_split_alone(
    workspace: Folder, manifest: Manifest, model: Model
) -> None:
    from linnaeus.training.evaluate import evaluate

    found = evaluate(workspace, manifest, "colours:1")
    assert (found["model"], found["split"]) == ("colours:1", "test")
    for name, value in model.metrics["test"].items():
        if name == "log_loss":
            assert found[name] == pytest.approx(value, rel=1e-4)
        elif name == "calibration":
            assert found[name]["error"] == pytest.approx(value["error"], rel=1e-4)
        else:
            assert found[name] == value


def test_evaluating_another_source_judges_all_of_it(
    workspace: Folder, model: Model, tmp_path: Path
) -> None:
    from linnaeus.training.evaluate import evaluate

    other = embedded(workspace, paint(tmp_path / "other", images_a_label=5, seed=9))
    found = evaluate(workspace, other, model.name)
    assert (found["split"], found["images"]) == ("all", 15)
    assert found["accuracy"] > 0.8


def test_a_label_that_the_model_does_not_know_is_named(
    workspace: Folder, model: Model, tmp_path: Path
) -> None:
    from linnaeus.training.evaluate import evaluate

    source = paint(tmp_path / "other", images_a_label=2, seed=10)
    (source / "x,y").rename(source / "z")
    with pytest.raises(ConfigurationError, match="label 'z'"):
        evaluate(workspace, embedded(workspace, source), model.name)


def test_images_of_another_backbone_are_a_mismatch(
    workspace: Folder, model: Model, tmp_path: Path
) -> None:
    from linnaeus.training.evaluate import evaluate

    source = paint(tmp_path / "other", images_a_label=2, seed=11)
    manifest = manifests.freeze(workspace, str(source))
    with pytest.raises(ConfigurationError, match="linnaeus embed"):
        evaluate(workspace, manifest, model.name)
    manifest = embedded(workspace, source, "pixels@6")
    with pytest.raises(FingerprintMismatch, match=model.fingerprint):
        evaluate(workspace, manifest, model.name)


def test_photos_are_labelled_best_first(
    workspace: Folder, manifest: Manifest, model: Model, tmp_path: Path
) -> None:
    from linnaeus.training.labelling import Labeller

    paint(tmp_path, images_a_label=1, seed=12)
    photos = [str(tmp_path / label / "000.png") for label in LABELS]
    found = Labeller(workspace).label(photos, "colours")
    assert [photo.path for photo in found] == photos
    assert [photo.labels[0][0] for photo in found] == list(LABELS)
    assert [photo.label for photo in found] == list(LABELS)
    assert [photo.chosen for photo in found] == [[label] for label in LABELS]
    for photo in found:
        scores = [score for _, score in photo.labels]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=1e-5)


def test_a_photo_that_cannot_be_labelled_is_named_and_costs_the_others_nothing(
    workspace: Folder, model: Model, tmp_path: Path
) -> None:
    from linnaeus.training.labelling import Labeller

    paint(tmp_path, images_a_label=1, seed=12)
    (tmp_path / "note.txt").write_text("no picture")
    names = ("note.txt", f"{LABELS[1]}/000.png", "absent.png")
    note, good, absent = Labeller(workspace).label([str(tmp_path / n) for n in names], "colours")
    assert "note.txt" in (note.error or "")
    assert "absent.png" in (absent.error or "")
    assert (good.error, good.labels[0][0]) == (None, LABELS[1])
    assert note.labels == absent.labels == []


def test_a_head_of_layers_is_published_as_the_next_version(
    workspace: Folder, manifest: Manifest, model: Model
) -> None:
    from linnaeus.training.train import train

    layers = LayersConfig(hidden=(16,), epochs=20, learning_rate=0.01, batch_size=16)
    config = TrainConfig(backbone=SMALL, head="layers", layers=layers, seed=3)
    second = train(workspace, manifest, "colours", config)
    assert second.version == model.version + 1
    assert second.metrics["test"]["accuracy"] > 0.8
    assert second.hyperparameters["layers"]["hidden"] == (16,)
    assert second.hyperparameters["chosen"]["head"] == "layers"


def test_a_model_below_its_gate_leaves_nothing_and_the_next_one_is_recorded_whole(
    workspace: Folder, manifest: Manifest, tmp_path: Path
) -> None:
    from linnaeus.training.train import train

    pictures = sorted((Path(workspace.uri).parent / "colours").rglob("*.png"))
    labels = ("even", "odd")  # which the colours do not tell
    rows = [{"uri": str(path), "label": labels[int(path.stem) % 2]} for path in pictures]
    (tmp_path / "guesses.jsonl").write_text("\n".join(map(json.dumps, rows)))
    guesses = manifests.freeze(workspace, str(tmp_path / "guesses.jsonl"))
    config = TrainConfig(backbone=SMALL, head="linear")
    with pytest.raises(GateFailed, match="nothing was published"):
        train(workspace, guesses, "gated", replace(config, gate=GateConfig(1.0)))
    assert list(workspace.list("models/gated")) == []
    assert list(workspace.list("training"))  # so that a lower gate costs no training

    model = train(workspace, guesses, "gated", config)
    assert model.version == 1
    assert list(workspace.list("training")) == []
    with workspace.open(layout.held_out_predictions(model.run_id)) as file:
        predictions = pq.read_table(file)
    images = model.data["images"]
    assert len(predictions) == images["validation"] + images["test"]
    summary = json.loads(workspace.read(layout.summary(model.run_id)))
    assert (summary["model"], summary["model_version"]) == ("gated", 1)
    assert summary["test"]["accuracy"] == model.metrics["test"]["accuracy"] < 1


def test_images_of_no_prepared_backbone_name_the_command(workspace: Folder, tmp_path: Path) -> None:
    from linnaeus.training.train import train

    manifest = manifests.freeze(workspace, str(paint(tmp_path / "new", 2, seed=13)))
    with pytest.raises(ConfigurationError, match="linnaeus embed"):
        train(workspace, manifest, "colours", TrainConfig(backbone=SMALL))


def test_a_model_trained_in_a_bucket_evaluates_there(s3: object, tmp_path: Path) -> None:
    from linnaeus.training.evaluate import evaluate
    from linnaeus.training.labelling import Labeller
    from linnaeus.training.train import train

    workspace = Folder(f"{s3.bucket()}/workspace")  # type: ignore[attr-defined]
    manifest = embedded(workspace, paint(tmp_path / "colours", images_a_label=12))
    config = TrainConfig(backbone=SMALL, linear=LinearConfig((0.1,)), split=SplitConfig(20, 20))
    model = train(workspace, manifest, "colours", config)
    assert load_model(workspace, "colours").version == 1
    assert (
        evaluate(workspace, manifest, "colours")["accuracy"] == (model.metrics["test"]["accuracy"])
    )
    photo = str(tmp_path / "colours" / LABELS[0] / "000.png")
    assert len(Labeller(workspace).label([photo], "colours")[0].labels) == len(LABELS)


def test_the_real_network_scores_alike_in_worker_and_server(tmp_path: Path, lite0: Any) -> None:
    """EfficientNet-Lite0 on photographs: engine and head against every served signature."""
    from skimage import data

    from linnaeus.models import ModelBackbone
    from linnaeus.training.evaluation.decisions import DecisionRule
    from linnaeus.training.exporting.export import TrainedModel, export
    from linnaeus.training.exporting.published import PublishedModel
    from linnaeus.training.heads.head import Dense, Head, log_softmax

    spec, files = lite0.spec, lite0.files
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 0.05, (spec.embedding_size, 4)).astype(np.float32)
    head = Head((Dense(kernel, np.zeros(4, np.float32)),))
    folder = tmp_path / "model"
    folder.mkdir()
    export(TrainedModel("photos", DecisionRule(("a", "b", "c", "d")), head, spec, files), folder)
    published = PublishedModel(folder)

    encoded = [
        encode(Image.fromarray(photo), "JPEG", quality=90)
        for photo in (data.astronaut(), data.coffee(), data.chelsea())
    ]
    encoded.append(encode(Image.fromarray(data.astronaut()).resize((2600, 2600)), "JPEG"))
    pixels = np.stack([images.decode(one, spec.height, spec.width).pixels for one in encoded])
    engine = open_engine(files, spec)
    worker = engine.embed(pixels)
    engine.close()
    scores = np.exp(log_softmax(head.logits(worker)))
    assert ModelBackbone.of(spec).embedding_size == 1280
    for outputs in (
        published.call("pixels", pixels=pixels),
        published.call("embedding", embedding=worker),
    ):
        assert np.allclose(outputs["scores"], scores, rtol=1e-4)
    served = published.call("embed", image_bytes=encoded)["embedding"]
    cosines = (served * worker).sum(axis=1) / np.linalg.norm(served, axis=1)
    cosines /= np.linalg.norm(worker, axis=1)
    assert cosines.min() >= 0.99
    answers = published.call("serving_default", image_bytes=encoded)["scores"]
    second, first = np.sort(scores, axis=1)[:, -2:].T
    sure = first - second > 0.05
    assert np.array_equal(answers.argmax(axis=1)[sure], scores.argmax(axis=1)[sure])
    golden = json.loads((folder / "golden" / "golden.json").read_text("utf-8"))
    for one in golden["images"]:
        data_of = (folder / "golden" / one["file"]).read_bytes()
        vector = published.call("embed", image_bytes=[data_of])["embedding"][0]
        expected = np.array(one["embedding"])
        cosine = vector @ expected / np.linalg.norm(vector) / np.linalg.norm(expected)
        assert cosine >= 0.99, one["file"]

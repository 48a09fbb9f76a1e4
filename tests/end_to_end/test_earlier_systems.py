"""What retrain.py, make_image_classifier and the flowers pipelines promised or got wrong, whole.

One test a promise, through the front door; `make test` proves the same beside each module. Other
tests that belong here: killed runs that go on (test_kills), old command lines
(tests/linnaeus/training/test_retrain, test_make_image_classifier), the tutorials (test_tutorials).
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from linnaeus import Workspace
from linnaeus.augmentation_settings import Augmentation
from linnaeus.cli.app import app
from linnaeus.errors import ConfigurationError
from linnaeus.manifests.splits import percentage_of, retrain_split
from linnaeus.models import Model, load_model
from linnaeus.storage import Folder
from linnaeus.training.config import LayersConfig, SplitConfig, TrainConfig
from tests.crops import fill

pytestmark = [pytest.mark.slow, pytest.mark.soak]

BACKBONE = "pixels@8"
LABELS = {"coffee": "Kaffee und Kuchen", "daisy": "Gänseblümchen", "temple": "日本"}
SUFFIXES = ("JPG", "JPEG", "PNG", "GIF", "BMP", "WEBP", "jpg", "webp")
IMAGES_A_LABEL = 24
QUICK = TrainConfig(backbone=BACKBONE, head="linear")


@dataclass(frozen=True)
class Archive:
    """Photographs in a folder, and a workspace in which model `things` is trained on them."""

    folder: Path
    root: Path

    @property
    def images(self) -> str:
        return str(self.folder)

    @property
    def workspace(self) -> Workspace:
        return Workspace(str(self.root))

    @property
    def things(self) -> Model:
        return load_model(self.workspace.folder, "things")

    def command(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--workspace", str(self.root)])

    def embed(self) -> dict[str, int]:
        """Counts of embedding what is not embedded yet."""
        counts = self.workspace.embed(self.images, BACKBONE).counts
        return {"done": counts.done, "failed": counts.failed, "skipped": counts.skipped}

    def train(self, config: TrainConfig = QUICK, model: str = "other") -> Model:
        self.embed()
        return self.workspace.train(self.images, model, config)


def nested(folder: Path) -> Path:
    """The photographs two folders down, in every format, under names in capitals and not."""
    plain = fill(folder / "plain", IMAGES_A_LABEL, tuple(LABELS))
    for number, path in enumerate(sorted(plain.rglob("*.jpg"))):
        to = folder / "archive" / LABELS[path.parent.name] / f"{2020 + number % 3}" / "may"
        to.mkdir(parents=True, exist_ok=True)
        Image.open(path).save(to / f"{path.stem}.{SUFFIXES[number % len(SUFFIXES)]}")
    return folder / "archive"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    folder = tmp_path_factory.mktemp("earlier")
    archive = Archive(nested(folder), folder / "workspace")
    for file in archive.folder.rglob("*.*"):
        os.utime(file, (1_600_000_000, 1_600_000_000))
    archive.train(model="things")
    return archive


@pytest.fixture
def archive(made: Archive, tmp_path: Path) -> Archive:
    """A copy of both, to change."""
    return Archive(
        Path(shutil.copytree(made.folder, tmp_path / "archive")),
        Path(shutil.copytree(made.root, tmp_path / "workspace")),
    )


def held_out(archive: Archive, model: Model) -> dict[str, str]:
    """The split, validation or test, of each held-out image, by its path in the archive."""
    judged = pq.read_table(archive.root / "runs" / model.run_id / "held_out_predictions.parquet")
    rows = judged.select(["uri", "split"]).to_pylist()
    return {str(Path(row["uri"]).relative_to(archive.folder)): row["split"] for row in rows}


def test_nested_folders_and_every_format_are_taken_whatever_the_case_of_their_names(made):
    assert {path.suffix for path in made.folder.rglob("*.*")} == {f".{one}" for one in SUFFIXES}
    assert made.workspace.manifest(made.images).objects == 3 * IMAGES_A_LABEL
    tables = made.workspace.status()["tables"]
    assert (tables["objects"], tables.get("failures", 0)) == (3 * IMAGES_A_LABEL, 0)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_list_of_pictures_is_as_good_as_a_folder(archive, form):
    paths = sorted(archive.folder.rglob("*.*"))
    splits = ["train", "train", "test", "validation"] * (len(paths) // 4)
    rows = [
        {"uri": str(path), "label": path.parts[-4], "split": split}
        for path, split in zip(paths, splits, strict=True)
    ]
    lines = [json.dumps(row) for row in rows]
    if form == "csv":
        lines = ["uri,label,split", *(",".join(row.values()) for row in rows)]
    listed = archive.root.parent / f"list.{form}"
    listed.write_text("\n".join(lines))
    archive.workspace.embed(str(listed), BACKBONE)
    model = archive.workspace.train(str(listed), "listed", QUICK)
    assert model.labels == tuple(sorted(LABELS.values()))
    assert model.data["images"] == {"train": 36, "validation": 18, "test": 18}


def test_a_bucket_is_as_good_as_a_folder(made, s3):
    bucket = s3.bucket()
    for path in made.folder.rglob("*.*"):
        Folder(bucket).write(f"p/{path.relative_to(made.folder)}", path.read_bytes())
    there = Workspace(f"{bucket}/w")
    there.embed(f"{bucket}/p", BACKBONE)
    model = there.train(f"{bucket}/p", "things", QUICK)
    here = made.things
    assert (model.labels, model.data["images"]) == (here.labels, here.data["images"])
    assert model.metrics["test"]["accuracy"] == here.metrics["test"]["accuracy"]


def test_the_split_of_retrain_is_the_same_to_the_digit():
    one, variant = "/data/flowers/daisy/img_001.jpg", "/data/flowers/daisy/img_001_nohash_{}.jpg"
    assert f"{percentage_of(one):.6f}" == "9.132483"
    assert f"{percentage_of(variant.format(1)):.6f}" == "70.453616"
    assert f"{percentage_of(variant.format(2)):.6f}" == "70.453616"
    assert f"{percentage_of('gs://b/flowers/daisy/img_001.jpg'):.6f}" == "15.174891"
    assert retrain_split(one) == "validation"


def test_moving_the_pictures_keeps_the_split_where_hashing_full_paths_does_not(made, archive):
    assert archive.folder != made.folder
    assert held_out(archive, archive.train()) == held_out(made, made.things)
    by_full_path = TrainConfig(backbone=BACKBONE, head="linear", split=SplitConfig(by="full-path"))
    before, after = (held_out(one, one.train(by_full_path)) for one in (made, archive))
    assert before != after


def test_variants_of_one_object_are_in_one_split(archive):
    folder = archive.folder / LABELS["daisy"]
    for number in range(30):
        Image.new("RGB", (9, 9), (number, 0, 0)).save(folder / f"v_nohash_{number}.jpg")
    found = held_out(archive, archive.train())
    splits = [split for path, split in found.items() if "v_nohash_" in path]
    assert len(splits) in (0, 30)  # training images are not judged
    assert len(set(splits)) <= 1


def test_a_split_that_would_be_empty_is_filled(archive):
    for label in LABELS.values():
        for path in sorted((archive.folder / label).rglob("*.*"))[3:]:
            path.unlink()
    images = archive.train().data["images"]
    assert sum(images.values()) == 9
    assert min(images.values()) >= 1


def test_labels_are_kept_as_written_and_stored_sorted_with_the_model(made):
    described = json.loads((made.root / "models/things/1/linnaeus.json").read_text())
    assert described["labels"] == sorted(LABELS.values())
    [photo] = made.workspace.label([first(made)], "things")
    assert {label for label, _ in photo.labels} == set(LABELS.values())


def first(archive: Archive) -> str:
    return str(min(archive.folder.rglob("*.jpg")))


def test_labels_that_collide_are_refused_with_their_files(archive):
    listed = archive.root.parent / "list.csv"
    listed.write_text("uri,label\none.jpg,Big dog\ntwo.jpg,Big  dog\n")
    with pytest.raises(ConfigurationError) as refused:
        archive.workspace.manifest(str(listed))
    assert "one.jpg" in str(refused.value)
    assert "two.jpg" in str(refused.value)


def test_an_unknown_label_is_refused_with_its_files(archive):
    archive.embed()
    known = archive.root.parent / "labels.txt"
    known.write_text("\n".join(list(LABELS.values())[:2]))
    done = archive.command(
        "train", archive.images, "--model", "m", "--backbone", BACKBONE, "--labels", str(known)
    )
    assert done.exit_code == 2
    assert "日本" in done.stderr
    assert re.search(r"日本/20\d\d/may/\d+\.\w+", done.stderr)


def test_only_what_changed_is_embedded_again_whatever_its_name(archive):
    moved = archive.folder.rename(archive.folder.with_name("moved"))
    elsewhere = Archive(moved, archive.root)
    assert elsewhere.embed()["failed"] == 0
    rows = archive.workspace.status()["tables"]
    embeddings = [count for name, count in rows.items() if name.startswith("embeddings/")]
    Image.new("RGB", (40, 40), (1, 2, 3)).save(first(elsewhere))
    assert elsewhere.embed() == {"done": 1, "failed": 0, "skipped": 3 * IMAGES_A_LABEL - 1}
    now = archive.workspace.status()["tables"]
    assert [count for name, count in now.items() if name.startswith("embeddings/")] == [
        count + 1 for count in embeddings
    ]
    assert elsewhere.workspace.plan(elsewhere.images, "pixels@4").to_embed == 3 * IMAGES_A_LABEL


def test_truncated_and_unreadable_pictures_are_listed_with_a_reason_and_training_goes_on(archive):
    whole = Path(first(archive)).read_bytes()
    folder = archive.folder / LABELS["daisy"]
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("not a picture")
    (folder / "empty.png").write_bytes(b"")
    done = archive.command("embed", archive.images, "--backbone", BACKBONE)
    assert done.exit_code == 3
    codes = {Path(row["uri"]).name: row["code"] for row in failures(archive)}
    assert codes == {"cut.jpg": "CORRUPT", "text.jpg": "NOT_AN_IMAGE", "empty.png": "EMPTY"}
    assert all(row["message"] for row in failures(archive))
    model = archive.train()
    assert sum(model.data["images"].values()) == 3 * IMAGES_A_LABEL
    assert archive.embed() == {"done": 0, "failed": 0, "skipped": 3 * IMAGES_A_LABEL}


def failures(archive: Archive) -> list[dict[str, str]]:
    from deltalake import DeltaTable

    rows: list[dict[str, str]] = (
        DeltaTable(str(archive.root / "failures")).to_pyarrow_table().to_pylist()
    )
    return rows


def test_a_picture_that_could_not_be_read_is_tried_again(archive):
    listed = archive.root.parent / "list.csv"
    late = archive.root.parent / "late.png"
    listed.write_text(f"uri\n{first(archive)}\n{late}\n")
    assert archive.workspace.embed(str(listed), BACKBONE).counts.codes == {"NOT_FOUND": 1}
    Image.new("RGB", (40, 40)).save(late)
    assert archive.workspace.embed(str(listed), BACKBONE).counts.done == 1


def test_training_scoring_and_serving_give_one_picture_one_score(archive):
    import tensorflow as tf

    archive.workspace.score(archive.images, "things")
    table = archive.workspace.labels("things").to_pandas().set_index("uri")
    model = tf.saved_model.load(str(archive.root / "models/things/1")).signatures
    for path in sorted(archive.folder.rglob("*.PNG"))[:3]:
        row = table.loc[str(path)]
        [photo] = archive.workspace.label([str(path)], "things")
        served = model["serving_default"](image_bytes=tf.constant([path.read_bytes()]))
        assert photo.labels[0][0] == row["top_labels"][0]
        assert photo.labels[0][1] == pytest.approx(row["top_scores"][0], rel=1e-3)
        assert served["top_labels"].numpy()[0, 0].decode() == row["top_labels"][0]
        assert served["top_scores"].numpy()[0, 0] == pytest.approx(row["top_scores"][0], abs=0.05)


def test_the_test_report_has_the_misclassified_pictures(archive):
    """On labels that lie, so that there are some."""
    moved = sorted((archive.folder / LABELS["daisy"]).rglob("*.*"))
    for path in moved[::2]:
        path.rename(archive.folder / LABELS["temple"] / f"lie-{path.name}")
    split = SplitConfig(validation_percentage=10, testing_percentage=40)
    model = archive.train(TrainConfig(backbone=BACKBONE, head="linear", split=split))
    test = model.metrics["test"]
    assert len(model.mistakes) == round((1 - test["accuracy"]) * test["images"]) > 0
    for mistake in model.mistakes:
        assert Path(mistake["uri"]).exists()
        assert mistake["true"] != mistake["predicted"]
        assert 0 < mistake["score"] <= 1
    assert test["classes"].keys() == set(LABELS.values())


def test_training_stops_early_and_is_seen_in_tensorboard(archive, tmp_path):
    layers = LayersConfig(hidden=(16,), learning_rate=0.05, epochs=400, patience=2)
    config = TrainConfig(backbone=BACKBONE, head="layers", layers=layers)
    archive.embed()
    model = archive.workspace.train(
        archive.images, "other", config, summaries_dir=str(tmp_path / "logs")
    )
    assert 0 < len(model.curve) < 400
    assert {path.parent.name for path in (tmp_path / "logs").rglob("*tfevents*")} >= {
        "train",
        "validation",
    }


def test_fewer_pictures_than_a_batch_still_train(archive):
    layers = LayersConfig(batch_size=1000, epochs=60, patience=60, learning_rate=0.01)
    model = archive.train(TrainConfig(backbone=BACKBONE, head="layers", layers=layers))
    assert len(model.curve) == 60
    assert model.curve[-1]["train_loss"] < 0.8 * model.curve[0]["train_loss"]


def test_no_picture_validates_or_tests_what_it_was_varied_from(made, archive):
    """Copies that are turned by degrees are of training images only."""
    config = TrainConfig(
        backbone=BACKBONE,
        head="linear",
        augmentation=Augmentation(rotation=40, horizontal_flip=True),
        views=2,
    )
    varied = archive.train(config)
    assert held_out(archive, varied) == held_out(made, made.things)
    assert varied.data["images"] == made.things.data["images"]


def test_a_model_is_a_numbered_saved_model_that_takes_bytes_pixels_and_keys(made):
    import tensorflow as tf

    assert (made.root / "models/things/1/saved_model.pb").exists()
    model = tf.saved_model.load(str(made.root / "models/things/1"))
    photo = Path(first(made)).read_bytes()
    keyed = model.signatures["keyed"](
        image_bytes=tf.constant([photo] * 2), key=tf.constant(["a", "b"])
    )
    assert keyed["key"].numpy().tolist() == [b"a", b"b"]
    assert keyed["label"].numpy()[0].decode() in LABELS.values()
    assert keyed["scores"].numpy().sum(axis=1) == pytest.approx(1, abs=1e-5)
    pixels = model.signatures["pixels"](pixels=tf.zeros([1, 8, 8, 3], tf.uint8))
    assert pixels["scores"].shape == (1, 3)


def test_scores_come_in_shards_keyed_by_object_without_duplicates(archive, tmp_path):
    for form in ("parquet", "jsonl"):
        output = tmp_path / form
        archive.workspace.score(archive.images, "things", output=str(output), format=form)
        rows = [row for shard in output.glob(f"part-*-of-*.{form}") for row in read(shard)]
        uris = {row["uri"] for row in rows}
        assert len(uris) == len(rows) == 3 * IMAGES_A_LABEL
        for row in rows:
            assert len(row["top_labels"]) == len(row["top_scores"]) == 3
            assert row["confidence"] == pytest.approx(max(row["top_scores"]))


def read(shard: Path) -> list[dict[str, Any]]:
    if shard.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(shard).to_pylist()
        return rows
    return [json.loads(line) for line in shard.read_text().splitlines()]


def test_a_model_below_the_gate_is_not_published_and_the_status_is_1(archive):
    """Of labels that say nothing, of which none can be right always."""
    for number, path in enumerate(sorted(archive.folder.rglob("*.*"))):
        label = list(LABELS.values())[number % 3]
        path.rename(archive.folder / label / f"{number:04d}{path.suffix}")
    archive.embed()
    gate = ["--assert-accuracy-at-least", "0.95", "--head", "linear", "--backbone", BACKBONE]
    done = archive.command("train", archive.images, "--model", "gated", *gate)
    assert done.exit_code == 1
    assert re.search(r"0\.95|95", done.stderr.splitlines()[-1])
    assert not (archive.root / "models/gated").exists()


def test_one_command_labels_a_picture_and_another_many(made):
    done = made.command("label", first(made), "--model", "things")
    assert done.exit_code == 0
    lines = re.findall(r"^(.+) \(score=(\d\.\d{5})\)$", done.stdout, re.MULTILINE)
    assert {label for label, _ in lines} == set(LABELS.values())
    scores = [float(score) for _, score in lines]
    assert scores == sorted(scores, reverse=True)
    photos = sorted(map(str, made.folder.rglob("*.*")))[:5]
    many = made.command("label", *photos, "--model", "things")
    assert [line[:-1] for line in many.stdout.splitlines() if line.endswith(":")] == photos


def test_every_setting_of_the_earlier_programs_is_an_option():
    text = (
        CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, ["train", "--help"]).stdout
    )
    asked = """batch-size learning-rate momentum epochs steps dropout label-smoothing l1 l2
        optimizer hidden activation patience warmup-steps decay sampling class-weights fine-tune
        validation-percentage testing-percentage split-rule horizontal-flip rotation width-shift
        height-shift zoom random-crop random-scale random-brightness views target-precision
        assert-accuracy-at-least summaries-dir seed labels backbone"""
    for name in asked.split():
        assert re.search(rf"--{name}\b", text), name

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linnaeus import images, manifests
from linnaeus.errors import ConfigurationError
from linnaeus.storage import Folder
from linnaeus.training.config import SplitConfig
from linnaeus.training.data.dataset import Selection, load
from linnaeus.training.data.examples import SPLITS, LabelledEmbeddings
from linnaeus.training.data.near_duplicates import straddling
from tests.linnaeus.training.data.embedded import BACKBONE, embedded, put
from tests.pixel_engine import PixelEngine


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """Sixty pictures of two labels."""
    for number in range(60):
        put(tmp_path / "bucket" / ("ä b" if number % 2 else "Z"), number)
    return tmp_path / "bucket"


def loaded(workspace: Folder, source: Path, **split: float) -> LabelledEmbeddings:
    return load(workspace, embedded(workspace, source), BACKBONE, Selection(SplitConfig(**split)))


def refusal(workspace: Folder, source: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        loaded(workspace, source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_rows_are_the_embeddings_of_their_images_split_by_split(
    workspace: Folder, bucket: Path
) -> None:
    data = loaded(workspace, bucket)
    assert data.labels == ("Z", "ä b")
    assert sum(data.counts.values()) == len(data.rows) == 60
    assert min(data.counts.values()) > 0
    assert data.left_out == {}
    for name in SPLITS:
        examples, rows = data.examples(name), data.slices[name]
        uris = data.uris.to_pylist()[rows]
        assert uris == sorted(uris)
        for uri, vector, label_id in zip(uris, examples.embeddings, examples.targets, strict=True):
            picture = images.decode(Path(uri).read_bytes(), 8, 8)
            assert np.array_equal(vector, PixelEngine().embed(picture.pixels[None])[0])
            assert data.labels[label_id] == Path(uri).parent.name
    assert np.array_equal(data.rows.weights, np.ones(60))


@pytest.mark.parametrize("other", ["z", "ä B"])
def test_labels_that_differ_by_case_alone_are_one_mistake_unless_both_are_asked_for(
    workspace: Folder, bucket: Path, other: str
) -> None:
    for number in range(60, 90):
        put(bucket / other, number)
    said = refusal(workspace, bucket)
    first = "0000.png" if other == "z" else "0001.png"
    assert f"{bucket}/{other}/0060.png" in said and first in said
    assert "read the same: rename one" in said and "--labels" in said
    labels = tuple(sorted({"Z", "ä b", other}))
    asked = Selection(SplitConfig(), labels)
    assert load(workspace, embedded(workspace, bucket), BACKBONE, asked).labels == labels


def test_splits_follow_the_configured_percentages(workspace: Folder, bucket: Path) -> None:
    data = loaded(workspace, bucket, validation_percentage=30, testing_percentage=40)
    assert data.counts["train"] < 40
    assert data.counts["test"] > data.counts["validation"] / 2 > 3


def test_neighbouring_splits_are_one_slice(workspace: Folder, bucket: Path) -> None:
    data = loaded(workspace, bucket)
    both = data.examples("train", "validation")
    assert len(both) == data.counts["train"] + data.counts["validation"]
    assert np.shares_memory(both.embeddings, data.rows.embeddings)


def test_splits_and_weights_of_a_csv_are_kept(workspace: Folder, bucket: Path) -> None:
    lines = ["uri,label,split,weight"]
    for number, path in enumerate(sorted(bucket.rglob("*.png"))):
        split = SPLITS[number % 3]
        lines.append(f"{path},{path.parent.name},{split},{0.5 if number % 2 else 1}")
    csv = bucket.parent / "list.csv"
    csv.write_text("\n".join(lines))
    data = loaded(workspace, csv)
    assert data.counts == {"train": 20, "validation": 20, "test": 20}
    assert sorted(set(data.rows.weights.tolist())) == [0.5, 1.0]


def test_equal_content_is_used_once_and_rather_tested_than_trained_on(
    workspace: Folder, bucket: Path
) -> None:
    copies = bucket.parent / "pre-split"
    for number, path in enumerate(sorted(bucket.rglob("*.png"))):
        target = copies / ("test" if number % 4 == 0 else "train") / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    tested = sorted((copies / "test").rglob("*.png"))
    for path in tested:
        shutil.copy(path, copies / "train" / path.parent.name / f"0-{path.name}")
    data = loaded(workspace, copies)
    assert data.counts["test"] == len(tested) == 15
    assert data.left_out == {"duplicate": 15}


def test_equal_content_under_two_labels_is_left_out(workspace: Folder, bucket: Path) -> None:
    shutil.copy(bucket / "Z" / "0000.png", bucket / "ä b" / "other.png")
    data = loaded(workspace, bucket)
    assert data.left_out == {"of two labels": 2}
    assert len(data.rows) == 59


def test_what_cannot_be_used_is_counted_and_costs_nothing_else(
    workspace: Folder, bucket: Path
) -> None:
    (bucket / "Z" / "broken.png").write_bytes(b"no picture")
    put(bucket, 1000)
    data = loaded(workspace, bucket)
    assert data.left_out == {"failed": 1, "unlabelled": 1}
    assert len(data.rows) == 60


def test_images_that_nobody_embedded_name_the_command(workspace: Folder, bucket: Path) -> None:
    manifest = manifests.freeze(workspace, str(bucket))
    with pytest.raises(ConfigurationError, match=r"linnaeus embed .*bucket --backbone pixels@8"):
        load(workspace, manifest, BACKBONE, Selection(SplitConfig()))


def test_images_without_labels_are_refused(workspace: Folder, tmp_path: Path) -> None:
    put(tmp_path / "flat", 1)
    assert "has a label" in refusal(workspace, tmp_path / "flat")


def test_one_label_is_refused_by_its_name(workspace: Folder, bucket: Path) -> None:
    shutil.rmtree(bucket / "Z")
    assert "'ä b'" in refusal(workspace, bucket)


def test_a_label_of_several_lines_is_refused(workspace: Folder, bucket: Path) -> None:
    """It would be several in labels.txt and in a TFLite file."""
    (bucket / "Z").rename(bucket / "Z\nz")
    assert r"'Z\nz' has a line break" in refusal(workspace, bucket)


def test_a_label_of_which_nothing_can_be_used_is_named(workspace: Folder, bucket: Path) -> None:
    (bucket / "c").mkdir()
    (bucket / "c" / "broken.png").write_bytes(b"no picture")
    assert "of 'c'" in (text := refusal(workspace, bucket))
    assert "1 failed" in text


def test_fewer_images_than_the_splits_need_are_refused(workspace: Folder, tmp_path: Path) -> None:
    put(tmp_path / "two" / "a", 1)
    put(tmp_path / "two" / "b", 2)
    assert "too few" in refusal(workspace, tmp_path / "two")


def test_a_label_that_is_only_tested_is_named(workspace: Folder, bucket: Path) -> None:
    path = put(bucket / "only", 2000)
    rows = [f"{p},{p.parent.name},train" for p in sorted(bucket.rglob("*.png")) if p != path]
    csv = bucket.parent / "list.csv"
    csv.write_text("\n".join(["uri,label,split", f"{path},only,test", *rows]))
    assert "of 'only'" in (text := refusal(workspace, csv))
    assert "train" in text


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_split_that_nothing_falls_into_is_refused(
    workspace: Folder, bucket: Path, split: str
) -> None:
    percentage = {"validation": "validation_percentage", "test": "testing_percentage"}[split]
    with pytest.raises(ConfigurationError, match=f"{split} split: add images"):
        loaded(workspace, bucket, **{percentage: 0.0})


@pytest.mark.parametrize(
    ("weightless", "said"),
    [
        ("train,", "in the train split have the weight 0"),
        ("validation,", "in the validation split have the weight 0"),
        (",Z", "no image to train on of 'Z', all are held out or of weight 0"),
    ],
)
def test_images_of_no_weight_are_none_to_train_or_choose_by(
    workspace: Folder, bucket: Path, weightless: str, said: str
) -> None:
    lines = ["uri,split,label,weight"]
    for number, path in enumerate(sorted(bucket.rglob("*.png"))):
        row = f"{path},{SPLITS[number % 3]},{path.parent.name}"
        lines.append(f"{row},{0 if weightless in row else 1}")
    csv = bucket.parent / "list.csv"
    csv.write_text("\n".join(lines))
    assert re.search(said, refusal(workspace, csv))


def test_images_of_several_labels_make_a_matrix_of_which_each_has(
    workspace: Folder, bucket: Path
) -> None:
    labels = [["a"], ["b", "a"], []]
    rows = [
        {"uri": str(put(bucket / "all", 100 + number)), "labels": labels[number % 3]}
        for number in range(60)
    ]
    manifest = bucket / "several.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = loaded(workspace, manifest)
    assert data.task == "multi"
    assert data.labels == ("a", "b")
    truth = {row["uri"]: row["labels"] for row in rows}
    for uri, target in zip(data.uris.to_pylist(), data.rows.targets.tolist(), strict=True):
        assert target == [int("a" in truth[uri]), int("b" in truth[uri])]


def test_a_list_of_labels_gives_their_order(workspace: Folder, bucket: Path) -> None:
    manifest = embedded(workspace, bucket)
    data = load(workspace, manifest, BACKBONE, Selection(SplitConfig(), ("ä b", "Z")))
    assert data.labels == ("ä b", "Z")
    of_z = [uri.split("/")[-2] == "Z" for uri in data.uris.to_pylist()]
    assert data.rows.targets.tolist() == [int(z) for z in of_z]


def test_a_label_that_is_not_listed_is_refused_with_its_image(
    workspace: Folder, bucket: Path
) -> None:
    manifest = embedded(workspace, bucket)
    with pytest.raises(ConfigurationError, match=r"png has the label 'ä b'.*do you mean 'ä c'"):
        load(workspace, manifest, BACKBONE, Selection(SplitConfig(), ("Z", "ä c")))


def test_a_listed_label_without_images_is_named(workspace: Folder, bucket: Path) -> None:
    manifest = embedded(workspace, bucket)
    with pytest.raises(ConfigurationError, match="no image to train on of 'none', none has it"):
        load(workspace, manifest, BACKBONE, Selection(SplitConfig(), ("Z", "none", "ä b")))


def test_near_duplicates_are_kept_together_on_request(workspace: Folder, bucket: Path) -> None:
    """Pictures that differ in one pixel fall to both sides by their names alone."""
    for number in range(10):
        picture = np.array(Image.open(put(bucket / "Z", number * 2)))
        picture[0, 0] ^= 1
        Image.fromarray(picture).save(bucket / "Z" / f"copy-{number}.png")
    manifest = embedded(workspace, bucket)
    for kept, straddle in (("report", True), ("together", False)):
        split = SplitConfig(30.0, 30.0, near_duplicates=kept)
        data = load(workspace, manifest, BACKBONE, Selection(split))
        assert bool(straddling(data).found) == straddle

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnaeus.errors import ConfigurationError
from linnaeus.manifests.splits import assign, group_of, percentage_of, retrain_split, root_relative
from linnaeus.records import MANIFEST

names = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=8)


def manifest(
    uris: list[str],
    labels: list[str | None] | None = None,
    splits: list[str | None] | None = None,
    source: str = "/data/flowers",
) -> pa.Table:
    count = len(uris)
    columns = {
        "source": [source] * count,
        "uri": uris,
        "etag": ["e"] * count,
        "size": [1] * count,
        "label": labels or ["a"] * count,
        "split": splits or [None] * count,
    }
    arrays = [pa.array(columns.get(f.name, [None] * count), f.type) for f in MANIFEST]
    return pa.Table.from_arrays(arrays, schema=MANIFEST)


def numbered(count: int, source: str = "/data/flowers", label: str = "daisy") -> list[str]:
    return [f"{source}/{label}/img_{i:04d}.jpg" for i in range(count)]


@pytest.mark.parametrize(
    ("path", "percentage", "split"),
    [
        ("/data/flowers/daisy/img_001.jpg", 9.132483, "validation"),
        ("/data/flowers/daisy/img_001_nohash_1.jpg", 70.453616, "train"),
        ("/data/flowers/daisy/img_001_nohash_2.jpg", 70.453616, "train"),
        ("gs://b/flowers/daisy/img_001.jpg", 15.174891, "test"),
    ],
)
def test_the_retrain_split_is_reproduced_to_the_digit(path: str, percentage: float, split: str):
    assert percentage_of(path) == pytest.approx(percentage, abs=5e-7)
    assert retrain_split(path) == split


def test_the_bounds_of_a_split_are_those_of_retrain():
    path = "/data/flowers/daisy/img_001.jpg"
    exact = percentage_of(path)
    assert retrain_split(path, exact, 10) == "test"
    assert retrain_split(path, exact + 1e-9, 10) == "validation"
    assert retrain_split(path, 0, exact) == "train"
    assert retrain_split(path, 0, 0) == "train"


@given(names, names, st.floats(0, 50), st.floats(0, 49))
def test_variants_of_an_object_share_its_split(
    name: str, variant: str, first: float, second: float
):
    plain = retrain_split(f"{name}_nohash_", first, second)
    assert retrain_split(f"{name}_nohash_{variant.replace(chr(10), '')}", first, second) == plain


@pytest.mark.parametrize(
    ("source", "uri", "expected"),
    [
        ("/data", "/data/a/x.jpg", "a/x.jpg"),
        ("s3://b", "s3://b/a/x.jpg", "a/x.jpg"),
        ("/data/list.csv", "/data/a/x.jpg", "a/x.jpg"),
        ("/data/list.csv", "/elsewhere/x.jpg", "/elsewhere/x.jpg"),
        ("s3://b/img_", "s3://b/img_1.jpg", "img_1.jpg"),
        ("/data", "/database/x.jpg", "database/x.jpg"),
        ("/", "/x.jpg", "x.jpg"),
    ],
)
def test_a_path_is_relative_to_its_sources_folder(source: str, uri: str, expected: str):
    assert root_relative(source, uri) == expected


def test_moving_the_data_keeps_the_split_unless_it_is_by_full_path():
    here = manifest(numbered(300))
    there = manifest(numbered(300, "s3://bucket/copy"), source="s3://bucket/copy")
    assert assign(here).equals(assign(there))
    assert not assign(here, by="full-path").equals(assign(there, by="full-path"))


def test_the_full_path_split_is_retrains():
    uris = numbered(200)
    assert assign(manifest(uris), 20, 15, by="full-path").to_pylist() == [
        retrain_split(uri, 20, 15) for uri in uris
    ]


def test_the_full_path_may_begin_as_it_was_typed():
    uris = numbered(50)
    typed = [f"../flowers/{uri.removeprefix('/data/flowers/')}" for uri in uris]
    found = assign(manifest(uris), 20, 15, by="full-path", root="../flowers/")
    assert found.to_pylist() == [retrain_split(path, 20, 15) for path in typed]
    assert not found.equals(assign(manifest(uris), 20, 15, by="full-path"))


def test_shares_are_near_what_was_asked_for():
    counts = Counter(assign(manifest(numbered(5000)), 10, 20).to_pylist())
    assert counts["validation"] == pytest.approx(500, rel=0.2)
    assert counts["test"] == pytest.approx(1000, rel=0.2)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(0, 3)), min_size=30),
    st.floats(0, 45),
    st.floats(0, 45),
)
def test_groups_never_straddle_splits(
    images: list[tuple[str, int, int]], validation: float, testing: float
):
    uris = sorted({f"/data/{label}/{n}_nohash_{variant}.jpg" for label, n, variant in images})
    table = manifest(uris, [uri.split("/")[2] for uri in uris], source="/data")
    try:
        splits = assign(table, validation, testing).to_pylist()
    except ConfigurationError:
        return  # too few images, which other tests look at
    seen: dict[str, str] = {}
    for uri, split in zip(uris, splits, strict=True):
        assert seen.setdefault(group_of(uri), split) == split


@given(st.integers(2, 60), st.integers(1, 5), st.floats(1, 30), st.floats(1, 30))
def test_no_split_stays_empty_and_every_label_keeps_an_image_to_train_on_or_it_is_refused(
    count: int, label_count: int, validation: float, testing: float
):
    labels = [f"label{i % label_count}" for i in range(count)]
    uris = [f"/data/{label}/{i}.jpg" for i, label in enumerate(labels)]
    try:
        splits = assign(manifest(uris, labels, source="/data"), validation, testing).to_pylist()
    except ConfigurationError as e:
        assert "\n" not in str(e)
        assert count < 3 * label_count + 30  # only small sets are refused
        return
    assert set(splits) == {"train", "validation", "test"}


def test_an_empty_split_takes_the_nearest_hashes():
    uris = sorted(numbered(40), key=lambda uri: percentage_of(root_relative("/data/flowers", uri)))
    far = [u for u in uris if percentage_of(root_relative("/data/flowers", u)) > 20][:10]
    assert assign(manifest(far)).to_pylist() == ["validation", "test", *["train"] * 8]


def test_fewer_images_than_splits_are_refused():
    uris = [u for u in numbered(60) if retrain_split(root_relative("/data/flowers", u)) == "train"]
    with pytest.raises(ConfigurationError, match="2 images are too few for a validation split"):
        assign(manifest(uris[:2], ["a", "b"]))
    assert assign(manifest(uris[:2], ["a", "b"]), 0, 0).to_pylist() == ["train", "train"]


def test_an_explicit_split_wins_and_rows_without_are_train():
    splits = ["test", "validation", None, "train", None]
    assert assign(manifest(numbered(5), splits=splits), 40, 40).to_pylist() == [
        "test",
        "validation",
        "train",
        "train",
        "train",
    ]


@pytest.mark.parametrize(("named", "hashed"), [("test", "validation"), ("validation", "test")])
def test_the_split_that_is_not_named_is_taken_out_of_train_by_the_hash(named: str, hashed: str):
    uris = numbered(300)
    splits = [named if i % 3 == 0 else "train" for i in range(300)]
    result = assign(manifest(uris, splits=splits), 10, 10).to_pylist()
    for i, uri in enumerate(uris):
        by_hash = retrain_split(root_relative("/data/flowers", uri), 10, 10)
        expected = named if i % 3 == 0 else (hashed if by_hash == hashed else "train")
        assert result[i] == expected


def test_images_without_labels_are_no_reason_to_refuse():
    assert len(assign(manifest(numbered(2), [None, None]))) == 2


def test_nothing_left_to_train_on_is_refused():
    with pytest.raises(ConfigurationError, match="no labelled image is left to train on"):
        assign(manifest(numbered(2), splits=["test", "validation"]))


@pytest.mark.parametrize(
    ("validation", "testing"), [(-1, 10), (10, -1), (60, 40), (100, 0), (float("nan"), 10)]
)
def test_shares_that_leave_nothing_are_refused(validation: float, testing: float):
    with pytest.raises(ConfigurationError, match="must leave some images to train on"):
        assign(manifest(numbered(9)), validation, testing)


def test_an_unknown_way_to_split_is_refused():
    with pytest.raises(ConfigurationError, match="use root-relative or full-path"):
        assign(manifest(numbered(9)), by="name")


def small_labels(counts: dict[str, int], source: str = "/data") -> pa.Table:
    labels = [label for label, count in counts.items() for _ in range(count)]
    uris = [f"{source}/{label}/{i}.jpg" for i, label in enumerate(labels)]
    return manifest(uris, labels, source=source)


def held_out_labels(table: pa.Table, *shares: float) -> dict[str, Counter[str]]:
    pairs = zip(table["label"].to_pylist(), assign(table, *shares).to_pylist(), strict=True)
    found: dict[str, Counter[str]] = {}
    for label, split in pairs:
        found.setdefault(label, Counter())[split] += 1
    return found


@given(
    st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.integers(3, 40), min_size=2),
    st.floats(1, 30),
    st.floats(1, 30),
)
def test_a_label_is_trained_on_chosen_by_and_tested_where_it_has_an_image_for_each(
    counts: dict[str, int], validation: float, testing: float
):
    table = small_labels(counts)
    hashed: dict[str, Counter[str]] = {label: Counter() for label in counts}
    for uri, label in zip(table["uri"].to_pylist(), table["label"].to_pylist(), strict=True):
        hashed[label][retrain_split(uri.removeprefix("/data/"), validation, testing)] += 1
    for label, splits in held_out_labels(table, validation, testing).items():
        lacking = {"validation", "test"} - set(hashed[label])
        if hashed[label]["train"] > len(lacking):
            assert set(splits) == {"train", "validation", "test"}, label


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(5, 60), min_size=2))
def test_what_the_hash_holds_out_stays_so_and_a_label_that_has_its_share_gives_no_more(
    counts: dict[str, int],
):
    table = small_labels(counts)
    rows = zip(*(table[name].to_pylist() for name in ("uri", "label")), strict=True)
    hashed = [(label, retrain_split(uri.removeprefix("/data/"))) for uri, label in rows]
    for (label, before), after in zip(hashed, assign(table).to_pylist(), strict=True):
        if before != after:
            assert before == "train"
            assert (label, after) not in hashed


def test_the_split_of_a_small_label_stays_where_it_is_when_the_images_move():
    counts = {"bird": 35, "cat": 12, "dog": 3}
    moved = assign(small_labels(counts, "s3://bucket/elsewhere"))
    assert assign(small_labels(counts)).equals(moved)


def test_a_label_that_is_never_the_first_of_several_is_held_out_too():
    table = manifest(numbered(400), [None] * 400)
    several = [["sky", "rare"] if i % 40 == 0 else ["sky"] for i in range(400)]
    table = table.set_column(table.schema.get_field_index("labels"), "labels", [several])
    pairs = list(zip(several, assign(table, 2, 2).to_pylist(), strict=True))
    assert {split for labels, split in pairs if "rare" in labels} == {"train", "validation", "test"}

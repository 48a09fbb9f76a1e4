"""Views of training images, by a network that gives back the pixels it sees."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from linnaeus import manifests, preparation
from linnaeus.augmentation_settings import Augmentation
from linnaeus.backbones import BackboneSpec, store, views
from linnaeus.jobs import RunSummary
from linnaeus.manifests import Manifest
from linnaeus.models import ModelBackbone
from linnaeus.planning import plans
from linnaeus.storage import Folder
from linnaeus.tables import read_matrix
from linnaeus.training.config import SplitConfig
from linnaeus.training.data.dataset import Selection, load
from linnaeus.training.data.embedding import embed_missing
from linnaeus.training.data.examples import LabelledEmbeddings
from linnaeus.training.data.views import embed_views, with_views
from tests.buckets import fill, png
from tests.pixel_engine import SPEC, K, PixelEngine

pytestmark = pytest.mark.slow

VARIED = Augmentation(horizontal_flip=True, rotation=30, width_shift=0.2, zoom=0.2)
VIEWS = 2


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans.ShardLimits, "for_run", lambda objects: plans.ShardLimits(6))


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> PixelEngine:
    """What every worker embeds by; it needs no TensorFlow, and counts."""
    engine = PixelEngine()
    monkeypatch.setattr("linnaeus.worker.worker.open_engine", lambda *asked: engine)
    return engine


@pytest.fixture
def base(workspace: Folder, tmp_path: Path) -> BackboneSpec:
    return published(workspace, tmp_path)


def published(workspace: Folder, folder: Path) -> BackboneSpec:
    (folder / "files").mkdir()
    return store.publish(workspace, folder / "files", SPEC)


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    return fill(tmp_path / "bucket", 40)


class Training:
    """The steps of a training with views, up to its data."""

    def __init__(self, workspace: Folder, images: str, base: BackboneSpec) -> None:
        self.workspace, self.base = workspace, base
        self.manifest: Manifest = manifests.freeze(workspace, images)
        embed_missing(workspace, self.manifest, base)
        selection = Selection(SplitConfig(validation_percentage=20, testing_percentage=20))
        self.plain = load(workspace, self.manifest, ModelBackbone.of(base), selection)
        self.views = views.prepare(workspace, base, VARIED, seed=1, views=VIEWS)

    def embed(self) -> list[RunSummary]:
        return embed_views(self.workspace, self.manifest, self.plain, self.views)

    def data(self, to: Path) -> LabelledEmbeddings:
        return with_views(self.plain, self.workspace, self.views, to)


@pytest.fixture
def training(workspace: Folder, bucket: Path, base: BackboneSpec) -> Training:
    return Training(workspace, str(bucket), base)


def stored(training: Training, digests: Any) -> list[NDArray[np.float32]]:
    names = [view.fingerprint for view in training.views]
    return [read_matrix(training.workspace, name, digests.to_pylist()) for name in names]


def test_only_training_images_are_embedded_and_only_once(training: Training, engine: PixelEngine):
    before, images = engine.embedded, training.plain.counts["train"]
    assert [summary.counts.embedded for summary in training.embed()] == [images] * VIEWS
    assert [summary.run_id for summary in training.embed()] == [None] * VIEWS
    assert engine.embedded - before == images * VIEWS


def test_view_rows_follow_the_plain_ones_with_their_labels(training: Training, tmp_path: Path):
    training.embed()
    plain, grown = training.plain, training.data(tmp_path / "matrix")
    images = plain.counts["train"]
    assert grown.counts == {**plain.counts, "train": images * (1 + VIEWS)}
    trained, before = grown.examples("train"), plain.examples("train")
    digests = plain.digests[:images]
    expected = np.concatenate([before.embeddings, *stored(training, digests)])
    np.testing.assert_array_equal(trained.embeddings, expected)
    np.testing.assert_array_equal(trained.targets, np.tile(before.targets, 1 + VIEWS))
    rows = grown.slices["train"]
    assert grown.digests[rows].to_pylist() == digests.to_pylist() * (1 + VIEWS)
    assert grown.uris[rows].to_pylist() == plain.uris[:images].to_pylist() * (1 + VIEWS)


def test_validation_and_test_stay_plain(training: Training, tmp_path: Path):
    training.embed()
    plain, grown = training.plain, training.data(tmp_path / "matrix")
    for name in ("validation", "test"):
        for field in ("embeddings", "targets", "weights"):
            before, now = (getattr(data.examples(name), field) for data in (plain, grown))
            np.testing.assert_array_equal(now, before)
        uris = [data.uris[data.slices[name]].to_pylist() for data in (plain, grown)]
        assert uris[0] == uris[1]
    assert (tmp_path / "matrix").stat().st_size == grown.rows.embeddings.nbytes


def test_an_image_weighs_with_its_views_what_it_weighed_alone(training: Training, tmp_path: Path):
    training.embed()
    weights = np.arange(1, len(training.plain.rows) + 1, dtype=np.float32)
    training.plain.rows.weights[:] = weights
    grown = training.data(tmp_path / "matrix")
    images = training.plain.counts["train"]
    trained = grown.examples("train").weights.reshape(1 + VIEWS, images)
    np.testing.assert_allclose(trained.sum(axis=0), weights[:images])
    assert grown.rows.weights.dtype == np.float32


def test_views_differ_from_each_other_and_are_the_same_in_another_workspace(
    training: Training, bucket: Path, tmp_path: Path
):
    training.embed()
    digests = training.plain.digests[:5]
    first, second = stored(training, digests)
    plain = training.plain.rows.embeddings[:5]
    assert min(np.abs(a - b).max() for a, b in [(first, second), (first, plain)]) > 0.1
    elsewhere = Folder(str(tmp_path / "elsewhere"))
    (tmp_path / "again").mkdir()
    other = Training(elsewhere, str(bucket), published(elsewhere, tmp_path / "again"))
    other.embed()
    np.testing.assert_array_equal(stored(other, digests), [first, second])


def interrupting(engine: PixelEngine, after: int) -> Callable[..., Iterator[tuple[Any, Any]]]:
    def stream(
        images: Iterable[tuple[K, NDArray[np.uint8]]],
    ) -> Iterator[tuple[K, NDArray[np.float32]]]:
        for key, pixels in images:
            if engine.embedded >= after:
                raise KeyboardInterrupt
            yield key, engine.embed(pixels[None])[0]

    return stream


def test_what_was_interrupted_goes_on(
    training: Training, engine: PixelEngine, monkeypatch: pytest.MonkeyPatch
):
    before, images = engine.embedded, training.plain.counts["train"]
    with monkeypatch.context() as interrupted, pytest.raises(KeyboardInterrupt):
        interrupted.setattr(engine, "stream", interrupting(engine, before + 15))
        training.embed()
    half_done, summaries = engine.embedded, training.embed()
    assert half_done - before == 15
    assert [summary.counts.embedded for summary in summaries] == [images] * VIEWS
    assert engine.embedded - half_done == images * VIEWS - 12  # two whole shards of six


def test_more_training_images_add_only_their_own_views(
    training: Training, bucket: Path, engine: PixelEngine
):
    training.embed()
    fill(bucket, 20, first=40)
    more = Training(training.workspace, str(bucket), training.base)
    before, new = engine.embedded, more.plain.counts["train"] - training.plain.counts["train"]
    more.embed()
    assert engine.embedded - before == new * VIEWS > 0


def test_a_corrupt_image_has_no_views_and_costs_nothing_else(
    workspace: Folder, bucket: Path, base: BackboneSpec, tmp_path: Path
):
    (bucket / "even" / "broken.png").write_bytes(png(999)[:60])
    training = Training(workspace, str(bucket), base)
    summaries = training.embed()
    assert [summary.counts.failed for summary in summaries] == [0] * VIEWS
    assert len(training.data(tmp_path / "matrix").rows) == 40 + training.plain.counts["train"] * 2


def test_an_image_that_is_gone_has_only_its_plain_row(training: Training, tmp_path: Path):
    gone = training.plain.uris[0].as_py()
    Path(gone).unlink()
    assert [summary.counts.failed for summary in training.embed()] == [1] * VIEWS
    grown = training.data(tmp_path / "matrix")
    images = training.plain.counts["train"]
    assert grown.counts["train"] == images + (images - 1) * VIEWS
    assert grown.uris.to_pylist().count(gone) == 1
    np.testing.assert_allclose(grown.rows.weights[[0, 1, images]], [1, 1 / 3, 1 / 3])


def test_views_of_pictures_in_a_bucket_by_a_real_network(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from linnaeus.engines import open_engine

    monkeypatch.setattr("linnaeus.worker.worker.open_engine", open_engine)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    images, workspace = Folder(f"{s3.bucket()}/pictures"), Folder(f"{s3.bucket()}/workspace")
    for number in range(40):
        images.write(f"{'odd' if number % 2 else 'even'}/{number}.png", png(number))
    training = Training(workspace, images.uri, preparation.prepare(workspace, "pixels@8"))
    count = training.plain.counts["train"]
    assert [summary.counts.embedded for summary in training.embed()] == [count] * VIEWS
    assert training.data(tmp_path / "matrix").counts["train"] == count * (1 + VIEWS)
    fingerprint, uri = training.views[0].fingerprint, training.plain.uris[0].as_py()
    pixels = views.decoder(training.views[0])(images.read(uri.removeprefix(images.uri + "/")))
    stored_vector = read_matrix(workspace, fingerprint, training.plain.digests[:1].to_pylist())
    expected = PixelEngine().embed(pixels.pixels[None])
    np.testing.assert_allclose(stored_vector, expected, atol=1e-5)

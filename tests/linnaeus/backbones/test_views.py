from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from linnaeus import backbones, images, layout, manifests, runs
from linnaeus.augmentation_settings import Augmentation
from linnaeus.backbones import BackboneSpec, store, views
from linnaeus.errors import ConfigurationError, FailureCode, ImageError
from linnaeus.images import isolation
from linnaeus.images.augmentation import augmented
from linnaeus.images.isolation import IsolatedDecoder
from linnaeus.planning import EmbedJob, plans
from linnaeus.storage import Folder
from linnaeus.tables import read_matrix
from linnaeus.worker import Worker, do_shard
from tests import killing_decoder, pictures
from tests.buckets import TestWorker, fill, png
from tests.pixel_engine import SIZE, SPEC, PixelEngine

TURNED = Augmentation(rotation=30, zoom=0.2)


@pytest.fixture
def base(workspace: Folder, tmp_path: Path) -> BackboneSpec:
    """A backbone of the workspace, of one file."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "network").write_bytes(b"weights")
    return store.publish(workspace, tmp_path / "files", replace(SPEC, folder="first"))


def prepared(workspace: Folder, base: BackboneSpec, number: int = 1) -> BackboneSpec:
    return views.prepare(workspace, base, TURNED, 3, number)[-1]


def test_views_are_backbones_of_the_workspace_with_the_files_of_their_base(
    workspace: Folder, base: BackboneSpec
):
    specs = views.prepare(workspace, base, TURNED, seed=3, views=2)
    assert len({base.fingerprint, *(spec.fingerprint for spec in specs)}) == 3
    for number, spec in enumerate(specs, 1):
        assert backbones.load_spec(workspace, spec.fingerprint) == spec
        assert spec.view is not None
        assert (spec.view.base, spec.view.number) == (base.fingerprint, number)
        files = backbones.local_files(workspace, spec.fingerprint)
        assert (files / "network").read_bytes() == b"weights"
    assert sum(e.key.endswith("network") for e in workspace.list("backbones")) == 1


def test_the_same_views_are_found_again(workspace: Folder, base: BackboneSpec):
    first = views.prepare(workspace, base, TURNED, seed=3, views=2)
    assert views.prepare(workspace, base, Augmentation(rotation=30.0, zoom=0.2), 3, 3)[:2] == first


def test_whatever_changes_a_pixel_makes_another_view(workspace: Folder, base: BackboneSpec):
    other_base = replace(base, fingerprint="another")
    asked = [
        (base, TURNED, 3),
        (base, TURNED, 4),
        (base, replace(TURNED, rotation=31), 3),
        (base, replace(TURNED, vertical_flip=True), 3),
        (other_base, TURNED, 3),
    ]
    found = {views.prepare(workspace, *one, 1)[0].fingerprint for one in asked}
    assert len(found) == len(asked)


def test_a_view_of_nothing_varied_or_an_impossible_seed_is_refused(
    workspace: Folder, base: BackboneSpec
):
    with pytest.raises(ConfigurationError, match="varied"):
        views.prepare(workspace, base, Augmentation(), 0, 1)
    with pytest.raises(ConfigurationError, match="at least 0"):
        views.prepare(workspace, base, TURNED, -1, 1)


def test_a_view_sees_each_content_varied_in_its_own_way(workspace: Folder, base: BackboneSpec):
    first, second = views.prepare(workspace, base, TURNED, seed=3, views=2)
    data, other = png(1, 40), png(2, 40)
    plain = images.decode(data, *views.decode_size(first)).pixels
    assert plain.shape == (10, 10, 3)  # 8 pixels, at 1 / (1 - 0.2)
    picture = views.decoder(first)(data)
    assert (picture.width, picture.height, picture.format) == (40, 40, "PNG")
    seed = [3, 1, int(sha256(data).hexdigest(), 16)]
    np.testing.assert_array_equal(picture.pixels, augmented(plain, TURNED, seed, SIZE, SIZE))
    assert (picture.pixels != views.decoder(second)(data).pixels).any()
    assert (picture.pixels != views.decoder(base)(data).pixels).any()
    assert views.decoder(first)(other).pixels.shape == (SIZE, SIZE, 3)


def test_a_base_sees_pictures_as_they_are():
    data = pictures.jpeg()
    plain = images.decode(data, SIZE, SIZE).pixels
    np.testing.assert_array_equal(views.decoder(SPEC)(data).pixels, plain)


def test_what_is_no_picture_is_refused_to_a_view_too(workspace: Folder, base: BackboneSpec):
    with pytest.raises(ImageError) as caught:
        views.decoder(prepared(workspace, base))(b"no picture")
    assert caught.value.code is FailureCode.NOT_AN_IMAGE


def viewer(workspace: Folder, run: plans.RunSpec) -> Worker:
    """A worker of a view's run, with the pixel engine."""
    worker = Worker(workspace, run)
    worker.__dict__["engine"] = PixelEngine()
    return worker


def test_a_second_attempt_at_a_shard_gives_the_same_vectors(
    workspace: Folder, base: BackboneSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bucket = fill(tmp_path / "bucket", 4)
    (bucket / "even" / "killer.png").write_bytes(killing_decoder.KILLER)
    manifest = manifests.freeze(workspace, str(bucket))
    view = prepared(workspace, base)
    job = EmbedJob(view.fingerprint)
    run = runs.create_run(workspace, job, runs.make_plan(workspace, job, manifest))
    workspace.write_new(layout.attempt(run.run_id, 0, 1), b"")  # of a worker that died
    monkeypatch.setattr(IsolatedDecoder, "decode_function", "tests.killing_decoder:decode")
    monkeypatch.setattr(isolation, "_POOL", isolation._Pool())
    receipt = do_shard(viewer(workspace, run), 0)
    assert (receipt.counts.embedded, receipt.counts.codes) == (4, {"CRASHED": 1})
    runs.commit(workspace, run.run_id)
    contents = [png(number) for number in range(4)]
    vectors = read_matrix(workspace, view.fingerprint, [sha256(c).hexdigest() for c in contents])
    seen = np.stack([views.decoder(view)(content).pixels for content in contents])
    np.testing.assert_array_equal(vectors, PixelEngine().embed(seen))


def test_a_restricted_job_does_only_its_objects_and_adds_up(workspace: Folder, tmp_path: Path):
    manifest = manifests.freeze(workspace, str(fill(tmp_path / "bucket", 5)))
    uris = manifests.load(workspace, manifest.id)["uri"].to_pylist()
    job = EmbedJob(SPEC.fingerprint, only=frozenset(uris[:2]))
    run = runs.create_run(workspace, job, runs.make_plan(workspace, job, manifest))
    do_shard(TestWorker(workspace, run), 0)
    counts = runs.commit(workspace, run.run_id)
    assert (counts.planned, counts.done, counts.skipped) == (2, 2, 3)
    rest = runs.make_plan(workspace, EmbedJob(SPEC.fingerprint), manifest)
    assert (rest.spec.planned, rest.spec.skipped) == (3, 2)


def test_a_restricted_job_joins_only_runs_of_the_same_objects(workspace: Folder, tmp_path: Path):
    manifest = manifests.freeze(workspace, str(fill(tmp_path / "bucket", 5)))
    uris = manifests.load(workspace, manifest.id)["uri"].to_pylist()
    job, same, other, all_of_them = (
        EmbedJob(SPEC.fingerprint, only=None if only is None else frozenset(only))
        for only in (uris[:2], uris[1::-1], uris[1:3], None)
    )
    run = runs.create_run(workspace, job, runs.make_plan(workspace, job, manifest))
    assert runs.open_run(workspace, same, manifest.source) == run
    assert runs.open_run(workspace, other, manifest.source) is None
    assert runs.open_run(workspace, all_of_them, manifest.source) is None

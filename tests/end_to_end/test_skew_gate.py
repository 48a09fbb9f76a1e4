"""Before a run the server's answers about golden images are held against the worker's."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from linnaeus.errors import ConfigurationError, GateFailed, ReconciliationError, ServingError
from linnaeus.labels import LabelsTable
from linnaeus.models import golden_images, load_model
from linnaeus.planning import RunSpec
from linnaeus.signatures import OF_PAYLOAD
from linnaeus.storage import Folder
from linnaeus.training.config import TrainConfig
from linnaeus.worker import Worker
from serving.client import ScoringClient, skew
from tests.end_to_end.conftest import Loop, fill
from tests.servers import served

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def other(trained: Loop, tmp_path_factory) -> Iterator[str]:
    """A server whose version 1 of `colours` was trained on mixed-up folders."""
    folder = tmp_path_factory.mktemp("other")
    mixed = fill(folder / "bucket", 20)
    (mixed / "red").rename(mixed / "x")
    (mixed / "green").rename(mixed / "red")
    (mixed / "x").rename(mixed / "green")
    workspace = Loop(mixed, folder / "workspace").workspace
    workspace.embed(str(mixed), "pixels@8")
    workspace.train(str(mixed), "colours", TrainConfig(backbone="pixels@8"))
    with served(str(folder / "workspace"), "colours", 1) as address:
        yield address


def compared(loop: Loop, server: str, payload: str) -> list[skew.Comparison]:
    workspace = Folder(str(loop.root))
    model = load_model(workspace, "colours")
    run = RunSpec("", "score", "", "", model.fingerprint)
    with ScoringClient(server) as client:
        worker = Worker(workspace, run)
        found = skew.compare(
            skew.Served(client, model), golden_images.load(workspace, model), payload, worker
        )
        worker.close()
    return found


@pytest.mark.parametrize("payload", OF_PAYLOAD)
def test_the_embedded_server_agrees_with_the_worker(trained, server, payload):
    found = compared(trained, server, payload)
    assert {one.image for one in found} == {
        "plain.jpg",
        "turned.jpg",
        "cmyk.jpg",
        "large.jpg",
        "alpha.png",
        "palette.png",
        "sixteen-bit.png",
    }
    assert all(one.passes for one in found), "; ".join(map(str, found))


@pytest.mark.parametrize("payload", OF_PAYLOAD)
def test_a_server_of_another_model_is_refused_before_anything_is_labelled(
    loop, other, tmp_path, payload
):
    new = fill(tmp_path / "new", 2, first=200)
    with pytest.raises(GateFailed, match=r"disagree about \d of 7 golden images of colours:1"):
        loop.workspace.score(str(new), "colours", server=other, payload=payload)
    assert LabelsTable(Folder(str(loop.root)), "colours").table.load() is None


def test_a_slice_asks_no_server_of_another_model(loop, other, tmp_path):
    loop.workspace.freeze(str(fill(tmp_path / "new", 2, first=200)), "night", model="colours")
    with pytest.raises(GateFailed, match=r"disagree about \d of 7 golden images"):
        loop.workspace.score_slice("night", "1/1", server=other)
    with pytest.raises(ReconciliationError, match="1 of 1 shards are not done"):
        loop.workspace.commit_plan("night")
    loop.workspace.score_slice("night", "1/1", server=other, skew_gate=False)
    assert loop.workspace.commit_plan("night").counts.done == 6


def test_a_person_can_compare_a_server_by_every_payload(trained, server, other):
    agreeing = trained.workspace.skew("colours", server=server)
    assert {one.payload for one in agreeing} == set(OF_PAYLOAD)
    assert all(one.passes for one in agreeing)
    differing = trained.workspace.skew("colours:1", server=other)
    assert {one.payload for one in differing if not one.passes} == set(OF_PAYLOAD)


def test_the_difference_can_be_allowed(loop, other, tmp_path):
    new = fill(tmp_path / "new", 2, first=200)
    summary = loop.workspace.score(str(new), "colours", server=other, skew_gate=False)
    assert summary.counts.done == 6


def golden_index(loop: Loop) -> Path:
    return loop.root / "models" / "colours" / "1" / "golden" / "golden.json"


def test_a_worker_that_embeds_otherwise_than_the_trainer_is_refused(loop, server, tmp_path):
    described = json.loads(golden_index(loop).read_text("utf-8"))
    described["images"][2]["embedding"][0] += 0.01
    golden_index(loop).unlink()
    golden_index(loop).write_text(json.dumps(described), "utf-8")
    new = fill(tmp_path / "new", 1, first=200)
    with pytest.raises(GateFailed, match=r"cmyk\.jpg: embedding of this machine differs by"):
        loop.workspace.score(str(new), "colours", server=server)


def test_a_golden_image_that_the_server_cannot_read_is_named(loop, server, tmp_path):
    plain = golden_index(loop).parent / "plain.jpg"
    plain.unlink()
    plain.write_bytes(b"no picture")
    new = fill(tmp_path / "new", 1, first=200)
    with pytest.raises(ServingError, match=r"golden image plain\.jpg"):
        loop.workspace.score(str(new), "colours", server=server, payload="image")


def test_a_model_without_golden_images_says_what_to_do(loop, server, tmp_path):
    shutil.rmtree(golden_index(loop).parent)
    new = fill(tmp_path / "new", 1, first=200)
    with pytest.raises(ConfigurationError, match="--no-skew-gate"):
        loop.workspace.score(str(new), "colours", server=server)

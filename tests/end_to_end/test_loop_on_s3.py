"""The same loop with images and workspace in a real S3 server."""

import pytest

from linnaeus import Workspace
from linnaeus.errors import StorageError
from linnaeus.storage import Folder
from linnaeus.training.config import TrainConfig
from tests.end_to_end.conftest import BACKBONE, COLOURS, picture

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket(s3, monkeypatch):
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    root = s3.bucket()
    folder = Folder(root)
    for colour in COLOURS:
        for seed in range(30):
            folder.write(f"photos/{colour}/a b+{seed}%.jpg", picture(colour, seed))
    folder.write("photos/red/empty.jpg", b"")
    return root


def test_the_loop_embeds_trains_and_labels_in_a_bucket(bucket):
    images, workspace = f"{bucket}/photos", Workspace(f"{bucket}/workspace")
    embedded = workspace.embed(images, BACKBONE)
    assert (embedded.counts.done, embedded.counts.failed) == (90, 1)
    model = workspace.train(images, "colours", TrainConfig(backbone=BACKBONE))
    assert model.metrics["test"]["accuracy"] > 0.8
    scored = workspace.score(images, "colours", output=f"{bucket}/labels")
    assert (scored.counts.done, scored.counts.known_failures) == (90, 1)
    frame = workspace.labels("colours").to_pandas()
    labelled = frame[frame.status == "labelled"]
    assert (labelled.label == labelled.uri.str.split("/").str[-2]).mean() > 0.9
    assert frame[frame.status == "failed"].code.tolist() == ["EMPTY"]
    assert Folder(f"{bucket}/labels").head("_SUCCESS.json") is not None
    assert workspace.embed(images, BACKBONE).run_id is None
    assert workspace.score(images, "colours", output=f"{bucket}/labels").run_id is None
    [photo] = workspace.label([f"{images}/red/a b+1%.jpg"], "colours")
    assert photo.labels[0][0] == "red"
    assert workspace.evaluate(images, "colours")["accuracy"] > 0.8


def test_an_object_that_goes_away_after_the_listing_costs_no_other(bucket, s3):
    workspace = Workspace(f"{bucket}/workspace2")
    listing = "uri\n" + "".join(f"photos/red/a b+{n}%.jpg\n" for n in (0, 1, 2, 99))
    Folder(bucket).write("list.csv", listing.encode())
    summary = workspace.embed(f"{bucket}/list.csv", BACKBONE)
    assert (summary.counts.done, summary.counts.codes) == (3, {"NOT_FOUND": 1})


def test_wrong_credentials_are_one_line_that_says_so(bucket, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageError, match=r"(?i)credential|denied|key"):
        Workspace(f"{bucket}/workspace3").embed(f"{bucket}/photos", BACKBONE)

"""What failed in a scoring run, tried again by the installed command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from linnaeus.errors import ConfigurationError, FailureCode, StorageError
from linnaeus.preparation import prepare
from linnaeus.storage import read_object
from tests.end_to_end.conftest import Loop, fill

pytestmark = pytest.mark.slow
LINNAEUS = [sys.executable, "-c", "from linnaeus.cli import main; main()"]


@pytest.fixture
def failed(loop: Loop, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scored images, of which one could not be read in time and one is none."""
    bucket = fill(tmp_path / "new", 3, first=700)
    (bucket / "red" / "text.jpg").write_text("no picture")

    def read(uri: str, etag: str | None) -> bytes:
        if uri.endswith("red/0700.jpg"):
            raise StorageError(f"{uri}: no answer in time", FailureCode.TIMEOUT)
        return read_object(uri, etag)

    with monkeypatch.context() as patch:
        patch.setattr("linnaeus.worker.shards.read_object", read)
        counts = loop.workspace.score(str(bucket), "colours", server=server).counts
    assert counts.codes == {"NOT_AN_IMAGE": 1, "TIMEOUT": 1}
    return bucket


def retry(loop: Loop, bucket: Path, server: str, *options: str) -> dict:
    arguments = ["retry", str(bucket), "--model", "colours", "--server", server, *options]
    command = [*LINNAEUS, *arguments, "--json", "--workspace", str(loop.root)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return json.loads(ended.stdout)


def codes(loop: Loop, bucket: Path) -> dict[str, str | None]:
    rows = loop.workspace.labels("colours").to_arrow().to_pylist()
    of_bucket = [row for row in rows if row["source"] == str(bucket)]
    return {Path(row["uri"]).name: row["code"] for row in of_bucket if row["status"] == "failed"}


def test_a_retry_labels_what_failed_and_can_be_done(loop, failed, server):
    (failed / "red" / "new.jpg").write_bytes((failed / "red" / "0701.jpg").read_bytes())
    again = retry(loop, failed, server)
    assert (again["counts"]["planned"], again["counts"]["done"]) == (1, 1)
    assert codes(loop, failed) == {"text.jpg": "NOT_AN_IMAGE"}
    assert retry(loop, failed, server)["run_id"] is None
    counts = loop.workspace.score(str(failed), "colours", server=server).counts
    assert (counts.done, counts.known_failures) == (1, 1)


def test_a_code_that_is_named_is_tried_alone(loop, failed, server):
    again = retry(loop, failed, server, "--code", "not_an_image")
    assert (again["counts"]["failed"], again["counts"]["new_failures"]) == (1, 0)
    assert codes(loop, failed) == {"text.jpg": "NOT_AN_IMAGE", "0700.jpg": "TIMEOUT"}
    [one] = loop.workspace.run(again["run_id"]).failures
    assert (Path(one["uri"]).name, one["attempt"]) == ("text.jpg", 2)


@pytest.mark.parametrize("prepared", [False, True])
def test_a_backbone_that_embedded_nothing_has_nothing_to_retry(loop: Loop, prepared: bool):
    if prepared:
        prepare(loop.workspace.folder, "pixels@9")
    before = loop.workspace.folder.folders("backbones")
    with pytest.raises(ConfigurationError, match=r"nothing in .* was embedded by pixels@9"):
        loop.workspace.retry(str(loop.bucket), backbone="pixels@9")
    assert loop.workspace.folder.folders("backbones") == before
    assert loop.workspace.retry(str(loop.bucket), backbone="pixels@8").run_id is None


def test_embedding_again_makes_the_missing_vector(loop, failed, server):
    options = ["--backbone", "pixels@8", "--json", "--workspace", str(loop.root)]
    command = [*LINNAEUS, "retry", str(failed), *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(ended.stdout)["counts"]["embedded"] == 1

"""A store that overwrites what was to be created is refused before it loses anything."""

import pytest

from beam_pipelines.preflight.facts import gather
from beam_pipelines.preflight.submission import Submission
from linnaeus import manifests
from linnaeus.errors import ConfigurationError
from linnaeus.planning import EmbedJob
from linnaeus.storage import Folder
from tests.faults.proxy import Rule, Unconditional

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket(s3, proxy):
    """Of a store that takes no notice of `If-None-Match`, with pictures by name."""
    root, client = s3.bucket(), s3.client()
    Folder(f"{root}/photos").write("a/1.jpg", b"1")

    def delete(path):
        name, _, key = path.removeprefix("/").partition("/")
        client.delete_object(Bucket=name, Key=key)

    proxy.rules = [Rule(Unconditional(delete), "PUT")]
    return root


def test_a_new_workspace_in_a_store_without_conditions_is_refused(bucket, proxy):
    workspace = Folder(f"{bucket}/workspace")
    with pytest.raises(ConfigurationError, match=r"ignores If-None-Match.*: update it") as refusal:
        manifests.freeze(workspace, f"{bucket}/photos")
    assert "\n" not in str(refusal.value)
    assert list(workspace.list()) == []
    proxy.rules = []
    assert manifests.freeze(workspace, f"{bucket}/photos").number == 1


def test_preflight_tells_of_a_store_without_conditions(bucket):
    submission = Submission(EmbedJob, f"{bucket}/workspace", f"{bucket}/photos", None, None, ())
    problems = gather(submission).storage_problems
    assert problems.keys() == {"workspace"}
    assert "ignores If-None-Match" in problems["workspace"]


def test_a_store_is_tried_once_a_workspace(s3, proxy):
    root = s3.bucket()
    for name in ("one", "two"):
        Folder(f"{root}/{name}").write("a/1.jpg", b"1")
    asked = []
    for name in ("one", "one", "two"):
        before = proxy.asked.copy()
        manifests.freeze(Folder(f"{root}/workspace"), f"{root}/{name}")
        asked.append(
            [p for (m, p), n in (proxy.asked - before).items() for _ in range(n) if m != "GET"]
        )
    assert [sum("leases/.clock" in path for path in paths) for paths in asked] == [2, 0, 0]

"""The command, and what embed and score refuse before anything is listed or submitted."""

import json
import subprocess
import sys

import pytest

import linnaeus
from beam_pipelines.embed import EmbedRequest, embed
from beam_pipelines.score import ScoreRequest, score
from linnaeus.errors import ConfigurationError
from linnaeus.planning import EmbedJob
from linnaeus.progress.steps import PlainProgress
from linnaeus.storage import Folder
from serving.client import ScoringClient

pytestmark = pytest.mark.slow
DATAFLOW = ["--runner=DataflowRunner", "--project=p", "--temp_location=gs://b/t", "--no_auth"]


def test_embed_refuses_a_remote_runner_with_all_that_is_wrong(workspace):
    with pytest.raises(ConfigurationError) as refused:
        embed(workspace, EmbedRequest("/no/such/photos", beam_options=DATAFLOW))
    said = str(refused.value)
    for remedy in ("--region=", "--sdk_container_image", "name workspace as", "name images as"):
        assert remedy in said


def test_score_refuses_a_remote_runner_without_a_server_of_its_own(workspace):
    with pytest.raises(ConfigurationError, match="--server HOST:PORT"):
        score(workspace, ScoreRequest("gs://b/i", "model", beam_options=DATAFLOW))


@pytest.mark.parametrize("where", ["photos", "photos/labels", "workspace/labels"])
def test_score_writes_no_files_among_the_images_or_into_the_workspace(tmp_path, where):
    asked = ScoreRequest(f"{tmp_path}/photos", "model", output=f"{tmp_path}/{where}/")
    with pytest.raises(ConfigurationError, match=r"lies inside the \w+: name a folder beside it"):
        score(Folder(f"{tmp_path}/workspace"), asked)


@pytest.mark.parametrize(
    ("server", "said"),
    [("models.internal", "port is missing"), ("h:70000", "no port"), ("http://h:1", "gRPC")],
)
def test_a_server_that_has_no_address_is_refused_at_once(workspace, server, said):
    with pytest.raises(ConfigurationError, match=said):
        score(workspace, ScoreRequest("/no/such/photos", "model", server))
    with pytest.raises(ConfigurationError, match=said):
        ScoringClient(server)


def test_what_may_go_well_is_shown_and_passes(workspace, tmp_path):
    import io

    from beam_pipelines import preflight

    shown = io.StringIO()
    asked = preflight.Submission(
        EmbedJob, "/w", "/i", beam_options=("--runner=FlinkRunner", "--parallelism=1")
    )
    preflight.refuse(asked, PlainProgress(shown))
    assert "parallelism is 1" in shown.getvalue()


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    main = "from linnaeus.cli import main; main()"
    program = [sys.executable, "-c", main, "preflight", *arguments]
    return subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_says_what_is_wrong_and_ends_with_status_1(tmp_path):
    common = [str(tmp_path), "--workspace", str(tmp_path / "w")]
    (tmp_path / "a.jpg").write_bytes(b"a")
    passed = command(*common)
    assert (passed.returncode, passed.stdout) == (0, "Nothing wrong to be seen\n")
    ended = command(*common, "--", *DATAFLOW)
    assert ended.returncode == 1
    assert ended.stdout.startswith("wrong  ")
    as_json = command(*common, "--json", "--", *DATAFLOW)
    checks = {one["check"] for one in json.loads(as_json.stdout)}
    assert checks == {"workspace_visible", "images_visible", "region", "worker_image"}


def test_a_warning_alone_ends_with_status_0(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"a")
    options = [str(tmp_path), "--workspace", str(tmp_path / "w"), "--", "--runner=FlinkRunner"]
    options.append("--parallelism=1")
    ended = command(*options)
    assert ended.returncode == 0
    assert ended.stdout.startswith("mind   parallelism is 1")


def test_a_scoring_run_of_a_model_that_there_is_not_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="flowers"):
        linnaeus.Workspace(str(tmp_path)).preflight(str(tmp_path), "flowers")

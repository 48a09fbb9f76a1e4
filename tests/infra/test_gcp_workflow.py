"""Google Cloud's run: its workflow executed, with stand-ins for the services it calls."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer
import yaml

from tests.infra.workflows import Interpreter, RaisedError

FOLDER = Path(__file__).parents[2] / "infra" / "gcp"
WORKFLOW_RUN = "20260131T020000Z"
ENVIRONMENT = {
    "GOOGLE_CLOUD_PROJECT_ID": "my-project",
    "GOOGLE_CLOUD_LOCATION": "europe-west1",
    "GOOGLE_CLOUD_WORKFLOW_EXECUTION_ID": "e",
    "WORKFLOW": "nightly",
    "BUCKET": "my-bucket",
    "SHARDS_ON": "dataflow",
    "SLICES": "16",
    "MAX_WORKERS": "10",
    "WORKER_IMAGE": "europe-west1-docker.pkg.dev/my-project/linnaeus/linnaeus-shards-worker:1",
    "WORKER_ACCOUNT": "linnaeus-shards@my-project.iam.gserviceaccount.com",
    "SUBNETWORK": "regions/europe-west1/subnetworks/linnaeus",
    "SERVER": "grpcs://linnaeus-server.run.app:443",
}
JOBS = ("linnaeus-steps", "linnaeus-train", "linnaeus-slices")
EMBED, SCORE = ["freeze embed", "only embed"], ["freeze score", "only score"]
TRAIN, REPORT = ["only train,evaluate,publish"], ["only report"]


def parsed(arguments: list[str]) -> tuple[str, dict[str, Any]]:
    """A command line as the real one reads it; a slip in it raises."""
    from linnaeus.cli.app import app

    command = typer.main.get_command(app)
    found = command.commands[arguments[0]]  # type: ignore[attr-defined]
    return arguments[0], dict(found.make_context(arguments[0], list(arguments[1:])).params)


class Cloud:
    """The services: they note what is asked of them, and fail where a test wants it."""

    def __init__(self, slices: int = 4, fails: str = "", dataflow: str = "JOB_STATE_DONE") -> None:
        self.slices, self.fails = slices, fails
        self.states = ["JOB_STATE_QUEUED", "JOB_STATE_RUNNING", dataflow]
        self.did: list[str] = []
        self.tasks: list[tuple[str, int]] = []
        self.launched: list[dict[str, Any]] = []
        self.told: list[dict[str, Any]] = []
        self.slept = 0

    def run_job(self, name: str, body: dict[str, Any], connector_params: dict[str, Any]) -> None:
        assert connector_params["timeout"] > 1800
        place, _, job = name.rpartition("/")
        assert (place, job in JOBS) == ("projects/my-project/locations/europe-west1/jobs", True)
        [override] = body["overrides"]["containerOverrides"]
        command, options = parsed(override["args"])
        if command == "run":
            assert (options["workflow_run"], options["workflow"]) == (
                WORKFLOW_RUN,
                "/etc/linnaeus/workflow.toml",
            )
            given = {k: options[k] for k in ("freeze", "only") if options[k]}
            [(key, value)] = given.items()
            step = f"{key} {value}"
            assert (job == "linnaeus-train") is ("train" in step)
        else:
            step = command
            self.tasks.append((" ".join(override["args"]), body["overrides"]["taskCount"]))
        self.did.append(step)
        if step == self.fails:
            raise RaisedError({"message": f"{step} failed", "tags": ["OperationError"]})

    def get(self, url: str, query: dict[str, str], auth: dict[str, str]) -> dict[str, Any]:
        assert (query, auth) == ({"alt": "media"}, {"type": "OAuth2"})
        key = unquote(url.rpartition("/")[2])
        step = re.fullmatch(rf"workspace/workflow_runs/nightly/{WORKFLOW_RUN}-(\w+)\.json", key)
        assert step
        plan = {"plan": f"nightly-{WORKFLOW_RUN}-{step[1]}", "slices": self.slices}
        return {"body": json.dumps(plan).encode()}

    def launch(self, body: dict[str, Any], **place: Any) -> dict[str, Any]:
        from google.cloud.dataflow_v1beta3.types import LaunchFlexTemplateRequest

        LaunchFlexTemplateRequest.from_json(json.dumps(body), ignore_unknown_fields=False)
        parameters = body["launchParameter"]["parameters"]
        file = FOLDER.parent / "dataflow" / "run_shards.metadata.json"
        known = {one["name"]: one for one in json.loads(file.read_text())["parameters"]}
        for name, value in parameters.items():
            assert re.fullmatch(known[name]["regexes"][0], value), name
        assert parameters.keys() >= {n for n, one in known.items() if not one.get("isOptional")}
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", body["launchParameter"]["jobName"])
        self.launched.append(parameters)
        self.left = list(self.states)
        return {"job": {"id": "job-1"}}

    def look(self, jobId: str, **place: Any) -> dict[str, str]:
        return {"id": jobId, "currentState": self.left.pop(0)}

    def sleep(self, seconds: int) -> None:
        self.slept += seconds

    def publish(self, topic: str, body: dict[str, Any]) -> None:
        assert topic == "projects/my-project/topics/linnaeus-notifications"
        [message] = body["messages"]
        self.told.append(json.loads(base64.b64decode(message["data"])))

    def workflow_run(self, argument: dict[str, Any] | None = None, **settings: str) -> Any:
        calls = {
            "googleapis.run.v2.projects.locations.jobs.run": self.run_job,
            "googleapis.dataflow.v1b3.projects.locations.flexTemplates.launch": self.launch,
            "googleapis.dataflow.v1b3.projects.locations.jobs.get": self.look,
            "googleapis.pubsub.v1.projects.topics.publish": self.publish,
            "http.get": self.get,
            "sys.sleep": self.sleep,
        }
        workflows = yaml.safe_load((FOLDER / "workflow.yaml").read_text())
        return Interpreter(workflows, ENVIRONMENT | settings, calls).run(args=argument or {})


def test_a_workflow_run_freezes_has_shards_done_by_dataflow_and_commits():
    cloud = Cloud()
    assert cloud.workflow_run() == WORKFLOW_RUN
    assert cloud.did == [*EMBED, *TRAIN, *SCORE, *REPORT]
    embed, score = cloud.launched
    assert embed["plan"] == f"nightly-{WORKFLOW_RUN}-embed"
    assert "server" not in embed
    assert score["server"] == ENVIRONMENT["SERVER"]
    assert cloud.slept == 240
    assert cloud.told == []


def test_slices_are_tasks_of_a_job_where_that_is_asked_for():
    cloud = Cloud()
    cloud.workflow_run(SHARDS_ON="cloud-run")
    assert cloud.launched == []
    (embed, tasks), (score, _) = cloud.tasks
    assert tasks == 4
    assert "--slice auto/4" in embed
    assert f"--server {ENVIRONMENT['SERVER']}" in score


def test_nothing_new_starts_no_machines():
    cloud = Cloud(slices=0)
    cloud.workflow_run()
    assert cloud.launched == []
    assert cloud.did == [*EMBED, *TRAIN, *SCORE, *REPORT]


def test_without_a_server_one_process_scores_with_its_own():
    cloud = Cloud()
    cloud.workflow_run(SERVER="")
    assert cloud.did == [*EMBED, *TRAIN, "only score", *REPORT]


@pytest.mark.parametrize("failing", [*EMBED, *TRAIN, *SCORE])
def test_a_step_that_fails_ends_the_run_with_a_report_and_a_notification(failing):
    cloud = Cloud(fails=failing)
    with pytest.raises(RaisedError, match=failing):
        cloud.workflow_run()
    assert cloud.did[-2:] == [failing, *REPORT]
    [told] = cloud.told
    assert (told["workflow_run"], told["failure"]["message"]) == (WORKFLOW_RUN, f"{failing} failed")


@pytest.mark.parametrize("state", ["JOB_STATE_FAILED", "JOB_STATE_CANCELLED"])
def test_a_dataflow_job_that_ends_badly_ends_the_run(state):
    cloud = Cloud(dataflow=state)
    with pytest.raises(RaisedError, match=f"job-1.*{state}"):
        cloud.workflow_run()
    assert cloud.did == ["freeze embed", *REPORT]
    assert len(cloud.told) == 1


def test_a_failed_report_fails_the_run_but_hides_no_earlier_failure():
    cloud = Cloud(fails="only report")
    with pytest.raises(RaisedError, match="only report failed"):
        cloud.workflow_run({"id": WORKFLOW_RUN})
    assert len(cloud.told) == 1

"""A workflow of infra/aws whose commands are really carried out: pictures of a bucket are labelled.

Buckets, queues, definitions and topic are those of the stacks in moto; pictures and workspace are
in its S3, which the commands reach over HTTP. The model server is the embedded one, over a folder
that the task definition's own mirror command fills.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from linnaeus.cli.app import app
from tests.end_to_end.conftest import BACKBONE, COLOURS, picture
from tests.infra.aws_batch import INDEX, Cloud, Task, cloud
from tests.infra.aws_stacks import REGION, resolved, template

pytestmark = [
    pytest.mark.slow,
    pytest.mark.soak,
    pytest.mark.filterwarnings("ignore"),
]
MODEL = "colours"
WORKFLOW = """
name = "nightly"
workspace = "{workspace}"
[images]
location = "s3://{images}/photos"
[backbone]
name = "{backbone}"
[model]
name = "{model}"
head = "linear"
[serving]
server = "{server}"
[notifications]
sns_topic = "{topic}"
"""


@dataclass
class Carried:
    """Carries out each task by this project's command line, in this process."""

    environment: dict[str, str]
    folder: Path
    """Where the model server's task has its /models."""
    port: int
    cloud: Cloud | None = None
    said: dict[str, list[str]] = field(default_factory=dict)
    written: dict[str, set[str]] = field(default_factory=dict)
    """New keys in the workspace's bucket, by the job."""
    ending: dict[str, Any] = field(default_factory=dict)
    """Of the first run."""
    ended: threading.Event = field(default_factory=threading.Event)
    servers: ExitStack = field(default_factory=ExitStack)

    def __call__(self, task: Task) -> int:
        if task.job == "train" and not self.folder.exists():
            self.folder.mkdir()
            threading.Thread(target=self.serve, daemon=True).start()
        before = self.workspace_keys()
        done = CliRunner().invoke(app, task.command, env={**self.environment, **task.environment})
        self.written.setdefault(task.job, set()).update(self.workspace_keys() - before)
        self.said.setdefault(task.job, []).append(done.output)
        return done.exit_code

    def workspace_keys(self) -> set[str]:
        """What lies in the workspace's bucket."""
        assert self.cloud
        bucket = self.cloud.outputs["storage"]["WorkspaceBucket"]
        pages = self.cloud.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {each["Key"] for page in pages for each in page.get("Contents", [])}

    def mirror(self) -> list[str]:
        """The command of the task definition's mirror, over this machine's folder."""
        assert self.cloud
        ecs = self.cloud.client("ecs")
        [arn] = ecs.list_task_definitions()["taskDefinitionArns"]
        found = ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
        [one] = [each for each in found["containerDefinitions"] if each["name"] == "mirror"]
        assert one["entryPoint"] == ["python", "-m", "serving.model_mirror"]
        return [part.replace("/models/", f"{self.folder}/") for part in one["command"]]

    def serve(self) -> None:
        """What the service's task does: mirror the model until there is one, and serve it."""
        from serving import model_mirror
        from serving.server import EmbeddedServer

        while model_mirror.main([*self.mirror(), "--once"]) != 0:
            if self.ended.wait(0.2):
                return
        models = {MODEL: f"{self.folder}/{MODEL}"}
        self.servers.enter_context(EmbeddedServer(models, port=self.port))


@pytest.fixture(scope="module")
def patience() -> Iterator[None]:
    """Small shards, no waiting."""
    from linnaeus.planning import plans

    limits = plans.ShardLimits(12)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(plans.ShardLimits, "for_run", lambda objects: limits)
        patched.setattr("linnaeus.workflow.server_rollout.LOOK_SECONDS", 0.2)
        for name in [each for each in os.environ if each.startswith("AWS_")]:
            patched.delenv(name)
        yield


@pytest.fixture(scope="module")
def labelled(patience: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Carried]:
    """The stacks with twenty pictures of each colour in the images' bucket, after a first run."""
    from moto.server import ThreadedMotoServer

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    host, s3_port = s3.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{s3_port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }
    carried = Carried(environment, tmp_path_factory.mktemp("task") / "models", port)
    server = f"127.0.0.1:{port}"
    try:
        with cloud(carried, server, ModelName=MODEL, Slices="2") as made:
            carried.cloud = made
            fill(made, server)
            carried.ending = made.workflow_run("first")
            yield carried
    finally:
        carried.ended.set()
        carried.servers.close()
        s3.stop()


def fill(made: Cloud, server: str) -> None:
    """Put pictures and the workflow file where they go."""
    store, storage = made.client("s3"), made.outputs["storage"]
    for colour in COLOURS:
        for seed in range(20):
            key = f"photos/{colour}/{seed:04d}.jpg"
            store.put_object(Bucket=storage["ImagesBucket"], Key=key, Body=picture(colour, seed))
    text = WORKFLOW.format(
        workspace=storage["WorkspaceUri"],
        images=storage["ImagesBucket"],
        backbone=BACKBONE,
        model=MODEL,
        server=server,
        topic=made.outputs["notifications"]["Topic"],
    )
    bucket = storage["WorkspaceBucket"]
    store.put_object(Bucket=bucket, Key="workflows/nightly.toml", Body=text.encode())


def record(made: Cloud, workflow_run: str) -> dict[str, Any]:
    """The run's steps, by name."""
    bucket = made.outputs["storage"]["WorkspaceBucket"]
    key = f"workspace/workflow_runs/nightly/{workflow_run}.json"
    text = made.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return {step["name"]: step for step in json.loads(text)["steps"]}


def test_a_bucket_is_labelled_by_a_workflow_run(labelled):
    made = labelled.cloud
    assert labelled.ending["status"] == "SUCCEEDED", labelled.said
    steps = record(made, "first")
    assert {step["status"] for step in steps.values()} == {"done"}
    assert steps["embed"]["facts"]["done"] == steps["score"]["facts"]["done"] == 60
    for job in ("embed-slices", "score-slices"):
        tasks = [task for task in made.tasks if task.job == job]
        assert [task.environment[INDEX] for task in tasks] == ["0", "1"]
    [notification] = made.notified()
    assert "first" in notification


def test_slices_wrote_what_their_role_may_write(labelled):
    policies = template("jobs")["Resources"]["SliceRole"]["Properties"]["Policies"]
    [may] = [s for p in policies for s in p["PolicyDocument"]["Statement"] if "Write" in s["Sid"]]
    values = {"AWS::Partition": "aws", "WorkspaceBucket": "b", "WorkspacePrefix": "workspace"}
    places = [resolved(each, values).removeprefix("arn:aws:s3:::b/") for each in may["Resource"]]
    for job in ("embed-slices", "score-slices"):
        assert labelled.written[job]
        for key in labelled.written[job]:
            assert any(fnmatchcase(key, place) for place in places), key


def test_the_next_run_has_nothing_to_do_and_starts_no_slices(labelled):
    made = labelled.cloud
    made.tasks.clear()
    labelled.said.clear()
    assert made.workflow_run("second")["status"] == "SUCCEEDED", labelled.said
    steps = record(made, "second")
    assert {steps[name]["status"] for name in ("embed", "train", "score")} == {"skipped"}
    assert not [job for job in made.jobs if job.endswith("-slices")]


def test_wrong_usage_fails_the_run_by_its_exit_status(labelled):
    """A typing mistake in a command is an exit status of 2, not a job that does nothing."""
    wrong = Task("typo", "", ["run", "nightly.toml", "--ids", "x"], {})
    assert labelled(wrong) == 2

"""The state machine of infra/aws, executed in moto: every way through it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.infra.aws_batch import INDEX, Cloud, Task, cloud, parse
from tests.infra.aws_stacks import ACCOUNT, REGION

pytestmark = [
    pytest.mark.slow,
    pytest.mark.soak,
    pytest.mark.filterwarnings("ignore"),
]
JOBS = [
    "freeze-embed",
    "embed-slices",
    "commit-embed",
    "train",
    "freeze-score",
    "score-slices",
    "commit-score",
    "report",
]


@dataclass
class Pretended:
    """Jobs that only have their command lines read, by the real reader, and freeze a plan."""

    failing: str = ""
    """Name of the job that fails."""
    stuck: str = ""
    """Name of the job that never begins."""
    slices: dict[str, int] = field(default_factory=lambda: {"embed": 3, "score": 2})
    cloud: Cloud | None = None

    def __call__(self, task: Task) -> int | None:
        said = parse(task.command)
        if task.job == self.stuck:
            return None
        if task.job == self.failing and task.environment.get(INDEX, "1") == "1":
            return 1
        if said.get("freeze"):
            self.keep_plan(str(said["workflow_run"]), str(said["freeze"]))
        return 0

    def keep_plan(self, workflow_run: str, job: str) -> None:
        assert self.cloud
        plan = {"plan": f"nightly-{workflow_run}-{job}", "slices": self.slices[job]}
        self.cloud.client("s3").put_object(
            Bucket=self.cloud.outputs["storage"]["WorkspaceBucket"],
            Key=f"workspace/workflow_runs/nightly/{workflow_run}-{job}.json",
            Body=json.dumps(plan).encode(),
        )


@pytest.fixture(scope="module")
def stacks() -> Iterator[Cloud]:
    with cloud(Pretended()) as made:
        yield made


@pytest.fixture
def pretended(stacks: Cloud) -> Iterator[Pretended]:
    """The stacks with jobs that are pretended; nothing is left in the topic."""
    stacks.tasks.clear()
    stacks.runner = Pretended(cloud=stacks)
    yield stacks.runner
    stacks.notified()


def commands(cloud: Cloud, job: str) -> list[list[str]]:
    return [task.command for task in cloud.tasks if task.job == job]


def test_a_workflow_run_goes_through_all_its_jobs(stacks, pretended):
    assert stacks.workflow_run("good")["status"] == "SUCCEEDED"
    assert stacks.jobs == JOBS
    assert stacks.notified() == []
    assert stacks.servers == 0
    [train] = commands(stacks, "train")
    assert train[train.index("--only") + 1] == "train,evaluate,publish"
    slices = [task for task in stacks.tasks if task.job == "embed-slices"]
    assert [task.environment[INDEX] for task in slices] == ["0", "1", "2"]
    assert all(parse(task.command)["plan"] == "nightly-good-embed" for task in slices)
    assert all(task.command[4] == "auto/3" for task in slices)
    assert {task.image.rpartition("/")[2] for task in stacks.tasks} == {
        "linnaeus-trainer:0.1.0",
        "linnaeus-trainer-gpu:0.1.0",
        "linnaeus-worker:0.1.0",
    }


def test_a_workflow_run_with_nothing_to_do_starts_no_slices(stacks, pretended):
    pretended.slices = {"embed": 0, "score": 0}
    assert stacks.workflow_run("quiet")["status"] == "SUCCEEDED"
    assert stacks.jobs == [job for job in JOBS if not job.endswith("-slices")]


@pytest.mark.parametrize("job", JOBS)
def test_whatever_job_fails_is_reported_and_told(stacks, pretended, job):
    pretended.failing = job
    ended = stacks.workflow_run(f"without-{job}")
    assert (ended["status"], ended["error"]) == ("FAILED", "RunFailed")
    done = JOBS[: JOBS.index(job) + 1]
    assert stacks.jobs == (done if job == "report" else [*done, "report"])
    [message] = stacks.notified()
    assert f"The run without-{job} of nightly failed" in message
    assert job in message
    assert stacks.servers == 0


def test_a_plan_that_is_not_there_is_reported_and_told(stacks, pretended, monkeypatch):
    monkeypatch.setattr(Pretended, "keep_plan", lambda *_: None)
    assert stacks.workflow_run("lost")["status"] == "FAILED"
    assert stacks.jobs == ["freeze-embed", "report"]
    [message] = stacks.notified()
    assert "NoSuchKey" in message


def test_a_job_that_never_begins_ends_the_run_and_names_the_quota(stacks, pretended):
    pretended.stuck = "train"
    client = stacks.client("stepfunctions")
    arn = stacks.outputs["workflow"]["StateMachine"]
    text = client.describe_state_machine(stateMachineArn=arn)["definition"]
    hasty = json.loads(text)
    hasty["States"]["Train"]["TimeoutSeconds"] = 1
    client.update_state_machine(stateMachineArn=arn, definition=json.dumps(hasty))
    try:
        assert stacks.workflow_run("stuck")["status"] == "FAILED"
    finally:
        client.update_state_machine(stateMachineArn=arn, definition=text)
    assert stacks.jobs[-2:] == ["train", "report"]
    [message] = stacks.notified()
    assert "a quota is too small" in message


def test_servers_that_cannot_be_started_are_reported_and_told(stacks, pretended, monkeypatch):
    import moto.ecs.models as ecs

    def refuse(*_: Any, **__: Any) -> None:
        raise ecs.ServiceNotFoundException

    monkeypatch.setattr(ecs.EC2ContainerServiceBackend, "update_service", refuse)
    assert stacks.workflow_run("serverless")["status"] == "FAILED"
    assert stacks.jobs == ["freeze-embed", "embed-slices", "commit-embed", "report"]
    [message] = stacks.notified()
    assert "unstopped" in message


def test_a_topic_that_is_gone_does_not_make_a_bad_run_good(stacks, pretended, monkeypatch):
    import moto.sns.models as sns

    def refuse(*_: Any, **__: Any) -> None:
        raise sns.TopicNotFound

    monkeypatch.setattr(sns.SNSBackend, "publish", refuse)
    pretended.failing = "train"
    assert stacks.workflow_run("untold")["error"] == "RunFailed"


@pytest.mark.parametrize(
    ("definition", "word"),
    [
        ("Freeze", "--freeze"),
        ("EmbedSlice", "--slice"),
        ("Steps", "--only"),
        ("Steps", "Ref::steps"),
        ("ScoreSlice", "--server"),
    ],
)
def test_a_typing_mistake_in_a_command_line_fails_the_run(stacks, pretended, definition, word):
    """What the tests above are worth: the definition's own command, with one letter more."""
    from moto.batch.models import batch_backends

    definitions = batch_backends[ACCOUNT][REGION]._job_definitions
    wrong = definitions[stacks.outputs["jobs"][definition]]
    command = wrong.container_properties["command"]
    at = command.index(word)
    command[at] = f"{word}s"
    try:
        ended = stacks.workflow_run(f"typo-{definition}-{at}")
    finally:
        command[at] = word
    assert ended["status"] == "FAILED"

"""A sliced run: the commands that the launcher runs, and the Jobs it makes, come what may."""

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from linnaeus.cli.app import app
from linnaeus.errors import ConfigurationError
from linnaeus.storage import Folder
from linnaeus.workflow.on_kubernetes import cluster as cluster_module
from linnaeus.workflow.on_kubernetes.cluster import Cluster, ClusterError
from linnaeus.workflow.on_kubernetes.launcher import (
    CommandFailed,
    SlicedWorkflowRun,
    linnaeus,
    main,
)
from linnaeus.workflow.workflow_run import WorkflowRun
from tests.buckets import fill
from tests.certificates import Authority
from tests.infra.kubernetes.fake_cluster import FakeCluster, served
from tests.infra.kubernetes.objects import Objects

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(900)]

WORKFLOW_RUN = "linnaeus-nightly-29383920"
OWN_JOB = {"metadata": {"name": WORKFLOW_RUN}}
VARIABLE = re.compile(r"\$\((\w+)\)")
FILE = "/etc/linnaeus/nightly.toml"


@dataclass
class Commands:
    """Stands in for `linnaeus`: remembers what it was asked, and fails where told to."""

    slices: int = 3
    failing: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __call__(self, arguments: Sequence[str]) -> str:
        assert list(arguments[:4]) == ["run", FILE, "--id", WORKFLOW_RUN]
        text = " ".join(arguments[4:])
        self.asked.append(text)
        if status := self.failing.get(text):
            raise CommandFailed(status)
        if "--freeze" not in text:
            return "done\n"
        step = arguments[5]
        frozen = {"plan": f"nightly-{WORKFLOW_RUN}-{step}", "slices": self.slices, "objects": 7}
        return json.dumps(frozen, indent=1)


FREEZE = {step: f"--freeze {step} --slices 16 --json" for step in ("embed", "score")}
ALL = [FREEZE["embed"], "--only embed", FREEZE["score"], "--only score", "--only report"]


@pytest.fixture
def fake(rendered: dict[str, Objects]) -> FakeCluster:
    found = FakeCluster(rendered["aws+"])
    found.add(json.loads(json.dumps(OWN_JOB)))
    return found


@pytest.fixture
def cluster(fake: FakeCluster, tmp_path: Path) -> Iterator[Cluster]:
    with served(fake, tmp_path / "account") as found:
        yield found


@pytest.fixture
def go(cluster: Cluster) -> Callable[[Commands], None]:
    return lambda commands: SlicedWorkflowRun(cluster, FILE, WORKFLOW_RUN, 16, commands).go()


def made(fake: FakeCluster) -> list[str]:
    return [name.removeprefix(f"{WORKFLOW_RUN}-") for name in fake.jobs if name != WORKFLOW_RUN]


def environment(job: dict[str, Any]) -> dict[str, str]:
    [container] = job["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one["value"] for one in container["env"]}


def test_a_workflow_run_freezes_has_slices_done_and_commits(fake: FakeCluster, go: Any) -> None:
    commands = Commands()
    go(commands)
    assert commands.asked == ALL
    assert made(fake) == ["embed", "train", "score"]
    for step in ("embed", "score"):
        job = fake.jobs[f"{WORKFLOW_RUN}-{step}"]
        assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (3, 3)
        plan = f"nightly-{WORKFLOW_RUN}-{step}"
        assert environment(job) == {"PLAN": plan, "LINNAEUS_SLICES": "3"}
    assert environment(fake.jobs[f"{WORKFLOW_RUN}-train"]) == {"WORKFLOW_RUN": WORKFLOW_RUN}


def test_jobs_are_deleted_with_the_runs_own(fake: FakeCluster, go: Any) -> None:
    go(Commands())
    for name in made(fake):
        [owner] = fake.jobs[f"{WORKFLOW_RUN}-{name}"]["metadata"]["ownerReferences"]
        assert (owner["name"], owner["uid"]) == (WORKFLOW_RUN, f"uid-of-{WORKFLOW_RUN}")


def test_a_persons_own_run_has_no_job_to_go_with(fake: FakeCluster, go: Any) -> None:
    del fake.jobs[WORKFLOW_RUN]
    go(Commands())
    assert "ownerReferences" not in fake.jobs[f"{WORKFLOW_RUN}-embed"]["metadata"]


def test_templates_stay_as_they_are(fake: FakeCluster, go: Any) -> None:
    before = json.dumps(fake.objects.all)
    go(Commands())
    assert json.dumps(fake.objects.all) == before


def test_no_more_pods_at_a_time_than_the_template_says(fake: FakeCluster, go: Any) -> None:
    go(Commands(slices=40))
    spec = fake.jobs[f"{WORKFLOW_RUN}-embed"]["spec"]
    assert (spec["completions"], spec["parallelism"]) == (40, 16)


def test_where_nothing_is_to_do_no_slices_are_started(fake: FakeCluster, go: Any) -> None:
    commands = Commands(slices=0)
    go(commands)
    assert made(fake) == ["train"]
    assert commands.asked == ALL


def test_what_slices_leave_undone_is_done_by_the_launcher(fake: FakeCluster, go: Any) -> None:
    fake.end = lambda job: "Failed" if "slices" in str(job).lower() else "Complete"
    commands = Commands()
    go(commands)
    assert commands.asked == ALL


def test_a_training_that_fails_ends_the_run_with_a_report(fake: FakeCluster, go: Any) -> None:
    fake.end = lambda job: "Failed" if job["metadata"]["name"].endswith("train") else "Complete"
    commands = Commands()
    with pytest.raises(CommandFailed):
        go(commands)
    assert commands.asked == [*ALL[:2], "--only report"]
    assert made(fake) == ["embed", "train"]


@pytest.mark.parametrize(("command", "done"), [(FREEZE["embed"], 1), ("--only embed", 2)])
def test_a_gate_ends_the_run_with_a_report(
    fake: FakeCluster, go: Any, command: str, done: int
) -> None:
    commands = Commands(failing={command: 1, "--only report": 1})
    with pytest.raises(CommandFailed) as failed:
        go(commands)
    assert failed.value.status == 1
    assert commands.asked == [*ALL[:done], "--only report"]
    assert "train" not in made(fake)


def test_a_launcher_that_is_started_anew_joins_the_runs_jobs(fake: FakeCluster, go: Any) -> None:
    go(Commands())
    before = json.dumps(fake.jobs)
    go(Commands())
    assert json.dumps(fake.jobs) == before


@pytest.mark.parametrize("content_type", ["application/json", "text/html", None])
def test_a_cluster_that_is_busy_for_a_while_is_waited_for(
    fake: FakeCluster, go: Any, content_type: str | None
) -> None:
    fake.refusal_type = content_type
    fake.refuse_next = [503, 429, 500]
    go(Commands())
    assert made(fake) == ["embed", "train", "score"]


def test_a_cluster_that_is_away_is_one_line(
    fake: FakeCluster, go: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "PATIENCE_SECONDS", 0.1)
    fake.refuse_next = [503] * 1000
    commands = Commands()
    with pytest.raises(ClusterError, match="not now") as away:
        go(commands)
    assert "\n" not in str(away.value)
    assert commands.asked == [FREEZE["embed"], "--only report"]


def test_a_right_that_is_missing_is_named(fake: FakeCluster, go: Any) -> None:
    [role] = fake.objects.of("Role").values()
    role["rules"][0]["verbs"].remove("create")
    try:
        with pytest.raises(ClusterError, match=r"cannot create.*check the Role"):
            go(Commands())
    finally:
        role["rules"][0]["verbs"].append("create")


def test_a_token_that_is_replaced_is_read_again(
    fake: FakeCluster, cluster: Cluster, tmp_path: Path
) -> None:
    assert cluster.job(WORKFLOW_RUN) is not None
    fake.token = "the next hour's"
    with pytest.raises(ClusterError, match="Unauthorized"):
        cluster.job(WORKFLOW_RUN)
    (tmp_path / "account" / "token").write_text(fake.token)
    assert cluster.job(WORKFLOW_RUN) is not None


def test_settings_that_no_library_knows_are_kept(fake: FakeCluster, go: Any) -> None:
    template = fake.objects.of("CronJob")["linnaeus-train"]["spec"]["jobTemplate"]
    template["metadata"]["annotations"] = {"of-tomorrow": "kept"}
    try:
        go(Commands())
    finally:
        del template["metadata"]["annotations"]
    assert fake.jobs[f"{WORKFLOW_RUN}-train"]["metadata"]["annotations"] == {"of-tomorrow": "kept"}


def test_a_cluster_of_another_authority_is_not_believed(
    fake: FakeCluster, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "PATIENCE_SECONDS", 0.1)
    (tmp_path / "account" / "ca.crt").write_text(Authority("somebody").pem)
    other = Cluster.around(str(tmp_path / "account"))
    with pytest.raises(ClusterError, match="certificate verify failed") as refused:
        replace(other, poll_seconds=0.01).job(WORKFLOW_RUN)
    assert "\n" not in str(refused.value)


def test_a_job_that_somebody_deletes_is_no_success(fake: FakeCluster, cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="was deleted"):
        cluster.wait("gone")


def test_without_the_component_the_remedy_is_named(
    rendered: dict[str, Objects], tmp_path: Path
) -> None:
    everything = rendered["aws+"].all
    bare = FakeCluster(Objects([one for one in everything if one["kind"] != "CronJob"]))
    with served(bare, tmp_path / "account") as cluster:
        workflow_run = SlicedWorkflowRun(cluster, FILE, WORKFLOW_RUN, 16, Commands())
        with pytest.raises(ConfigurationError, match="no cronjob/linnaeus-embed-slices"):
            workflow_run.go()


def run_slices(workspace: str, job: dict[str, Any]) -> str:
    """Do what the pods of an embedding Job would, by its command line, the last one first."""
    [container] = job["spec"]["template"]["spec"]["containers"]
    variables = {"WORKSPACE": workspace, **environment(job)}
    words = [VARIABLE.sub(lambda found: variables[found[1]], one) for one in container["args"]]
    for index in reversed(range(job["spec"]["completions"])):
        in_this_process(words, JOB_COMPLETION_INDEX=str(index))
    return "Complete"


def in_this_process(arguments: Sequence[str], **environment: str) -> str:
    """What `linnaeus` says, without the seconds that each start takes."""
    ended = CliRunner().invoke(app, list(arguments), env=environment)
    if ended.exit_code:
        raise CommandFailed(ended.exit_code)
    return ended.stdout


def test_commands_are_run_and_their_status_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandFailed) as failed:
        linnaeus(["run", "/no/such.toml"])
    assert failed.value.status == 2
    assert "/no/such.toml" in capfd.readouterr().err


def test_slices_embed_by_the_commands_of_the_template(
    fake: FakeCluster, cluster: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    images, workspace = fill(tmp_path / "images", 6), str(tmp_path / "workspace")
    file = tmp_path / "nightly.toml"
    file.write_text(
        f'workspace = "{workspace}"\n[images]\nlocation = "{images}"\n'
        '[backbone]\nname = "pixels@8"\n'
    )
    fake.end = lambda job: "Failed" if "train" in str(job) else run_slices(workspace, job)
    with pytest.raises(CommandFailed):
        SlicedWorkflowRun(cluster, str(file), WORKFLOW_RUN, 16, in_this_process).go()
    record = WorkflowRun.load(Folder(workspace), "nightly", WORKFLOW_RUN)
    assert record is not None
    embedded = record.step("embed")
    assert embedded is not None
    assert (embedded.status, embedded.facts["embedded"]) == ("done", 6)
    assert "embed: 6 objects in 2 slices" in capfd.readouterr().out


def test_outside_of_a_cluster_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert main([FILE, "--id", "n"]) == 2
    assert "use `linnaeus run`" in capsys.readouterr().err


def test_without_its_library_the_extra_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightkube", None)
    assert main([FILE, "--id", "n"]) == 2
    assert "pip install 'linnaeus[kubernetes]'" in capsys.readouterr().err

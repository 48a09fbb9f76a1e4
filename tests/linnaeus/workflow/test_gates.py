"""Gates: what they refuse leaves the old model and the old labels in place."""

import socket
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from linnaeus import layout
from linnaeus.jobs import RunSummary
from linnaeus.models import golden_images, load_model
from linnaeus.records import Counts
from linnaeus.training.comparison import Comparison
from linnaeus.workflow import gates, server_rollout
from linnaeus.workflow.context import Refused
from linnaeus.workflow.file.config import Gates
from linnaeus.workflow.steps import embedding, scoring
from tests.linnaeus.workflow.conftest import statuses

REST = "evaluate,publish,score"


def page_of(place, run):
    """What a workflow run's report step says is its page."""
    return Path(place.workflow_run(run, "report").step("report").facts["page"]).read_text()


@pytest.mark.slow
def test_labels_that_change_too_much_are_refused_and_the_model_is_taken_back(candidate):
    from serving.server import EmbeddedServer

    before = candidate.said
    run = candidate.workflow_run("next", REST)
    assert statuses(run)["publish"] == "done"
    refused = run.step("score")
    assert refused.status == "refused"
    assert "churn_at_most = 0.2" in refused.line
    assert "colours:2 is taken back, version 1 stays" in refused.line
    assert refused.facts["changed"] > 25
    assert (candidate.said, candidate.versions) == (before, [1])
    page = page_of(candidate, "next")
    assert "These labels are not in use:" in page and "churn_at_most = 0.2" in page
    assert "<td>red</td><td>crimson</td>" in page
    # The next run knows, and neither trains nor publishes nor asks a server.
    run = candidate.workflow_run("later")
    assert run.trouble.name == "evaluate" and "churn_at_most" in run.trouble.line
    assert "still holds" in run.step("train").line
    assert "colours, not published" in page_of(candidate, "later")
    # Until a person allows it; the server that follows the model's folder is waited for.
    allowed = {"gates": {"churn_at_most": 0.5}}
    candidate.workflow_run("last", "manifest,plan,embed,train,evaluate", **allowed)
    with EmbeddedServer(
        {"colours": f"{candidate.root}/models/colours"}, poll_wait_seconds=0.1
    ) as server:
        asked = {**allowed, "serving": {"server": server.address}}
        run = candidate.workflow_run("last", "publish", **asked)
        assert "1 server at 127.0.0.1" in run.step("publish").line
        run = candidate.workflow_run("last", "score", **asked)
    assert run.trouble is None
    assert "not in use" not in page_of(candidate, "last")
    trained = load_model(candidate.workspace, "colours").run_id
    assert candidate.workspace.head(layout.report(trained))
    assert candidate.versions == [1, 3]
    assert set(candidate.said.values()) == {"crimson", "green", "blue"}
    again = candidate.workflow_run("last", "train,evaluate,publish", **allowed)
    assert again.step("publish").facts["version"] == 3
    assert statuses(again)["publish"] == "done"  # of the first time


@pytest.mark.slow
def test_a_candidate_that_is_not_accurate_enough_is_not_published(candidate):
    run = candidate.workflow_run("next", REST, gates={"accuracy_at_least": 0.999})
    assert statuses(run)["evaluate"] == "refused" and run.step("publish") is None
    assert "accuracy_at_least = 0.999" in run.trouble.line
    assert candidate.versions == [1]
    page = page_of(candidate, "next")
    assert "colours, not published" in page and "Most confident mistakes" in page
    assert "Map of the embeddings" in page


@pytest.mark.slow
def test_a_candidate_that_is_worse_than_the_current_model_is_not_published(candidate, monkeypatch):
    monkeypatch.setattr(
        "linnaeus.training.comparison.compare", lambda *_: Comparison(50, 0.85, 0.9)
    )
    run = candidate.workflow_run("next", REST)
    assert statuses(run)["evaluate"] == "refused"
    assert "a loss of 0.050" in run.trouble.line
    assert run.trouble.facts["current_accuracy"] == 0.9
    assert candidate.versions == [1]


@pytest.mark.slow
def test_a_candidate_whose_graph_sees_otherwise_is_not_published(candidate, monkeypatch):
    def other(workspace, model):
        kept = golden_images.load(workspace, model)
        return [replace(one, scores=np.roll(one.scores, 1)) for one in kept]

    monkeypatch.setattr("linnaeus.workflow.skew.load", other)
    run = candidate.workflow_run("next", REST)
    assert statuses(run)["publish"] == "refused"
    assert "golden images" in run.trouble.line
    assert candidate.versions == [1]


@pytest.mark.slow
def test_a_server_that_does_not_load_the_version_in_time_is_named(candidate):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        waiting = {"server": address, "wait_minutes": 0}
        run = candidate.workflow_run("next", REST, serving=waiting)
    assert statuses(run)["publish"] == "failed"
    assert f"{address} has not loaded colours:2" in run.trouble.line
    assert load_model(candidate.workspace, "colours").version == 2


@pytest.mark.slow
def test_new_failures_above_the_limit_stop_the_run_and_are_known_in_the_next(place):
    for number in range(2):
        (Path(place.images) / f"red/torn{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    before, settings = place.said, {"retrain": {"when": "never"}}
    run = place.workflow_run("1", gates={"failures_at_most": 1}, **settings)
    assert statuses(run)["embed"] == "refused" and run.step("score") is None
    assert run.trouble.facts["new_failures"] == 2
    assert place.said == before
    page = page_of(place, "1")
    assert "failures_at_most = 1" in page and "torn0.jpg" in page
    for only in ("embed", "manifest,plan,embed", "embed"):  # a repetition has nothing new
        run = place.workflow_run("1", only, gates={"failures_at_most": 1}, **settings)
        assert statuses(run)["embed"] == "refused"
        assert run.trouble.facts["new_failures"] == 2
    run = place.workflow_run("1", "embed", gates={"failures_at_most": 2}, **settings)
    assert statuses(run)["embed"] == "done"
    run = place.workflow_run("2", gates={"failures_at_most": 1}, **settings)
    assert run.trouble is None
    assert run.step("embed").facts["known_failures"] == 2
    assert len(place.said) == len(before) + 2


def test_a_limit_of_failures_is_a_number_or_a_share():
    assert gates.failures_allowed(3, 1000) == 3
    assert gates.failures_allowed(0.01, 1000) == 10
    assert gates.failures_allowed(1.0, 10) == 10
    assert gates.failures_allowed(0.01, 10) == 0
    counts = Counts(planned=10, failed=1, new_failures=1, codes={"CORRUPT": 1})
    gates.refuse_failures(Gates(failures_at_most=1), "RUN1", counts)
    with pytest.raises(Refused, match=r"CORRUPT 1.*allows 0: linnaeus status RUN1"):
        gates.refuse_failures(Gates(failures_at_most=0.01), "RUN1", counts)


def test_churn_is_judged_only_where_there_were_labels():
    gates.refuse_churn(Gates(churn_at_most=0.0), "RUN1", Counts(planned=10, done=10))
    gates.refuse_churn(Gates(churn_at_most=0.5), "RUN1", Counts(compared=10, changed=5))
    gates.refuse_churn(Gates(churn_at_most=None), "RUN1", Counts(compared=10, changed=10))
    with pytest.raises(Refused, match=r"5 of 10 labels.*RUN1/changes"):
        gates.refuse_churn(Gates(churn_at_most=0.4), "RUN1", Counts(compared=10, changed=5))


@pytest.mark.slow
def test_scoring_again_what_was_refused_is_held_against_all_that_failed(place):
    refused = {"model_version": 3, **asdict(Counts(planned=10, new_failures=2, codes={"X": 2}))}
    workflow = place.workflow(gates={"failures_at_most": 1})
    with pytest.raises(Refused, match="2 of 10 images"):
        scoring._gate(workflow, 3, refused)("RUN2", Counts())
    scoring._gate(workflow, 4, refused)("RUN2", Counts())


def test_all_servers_behind_a_name_are_waited_for():
    assert server_rollout.addresses("dns:///127.0.0.1:8500") == ["127.0.0.1:8500"]
    assert server_rollout.addresses("127.0.0.1:8500") == ["127.0.0.1:8500"]
    assert server_rollout.addresses("grpcs://127.0.0.1:8500") == ["grpcs://127.0.0.1:8500"]


def test_failures_of_a_run_that_was_joined_are_held_against_all_that_it_did():
    joined = Counts(planned=1000, done=995, failed=5, new_failures=5, codes={"CORRUPT": 5})
    last = Counts(new_failures=5, skipped=995, known_failures=5)
    run = RunSummary("RUN1", "embed", "s", "m", 1000, last, 1.0, joined=joined)
    counts = embedding._work_of(run)
    assert (counts.planned, counts.done, counts.new_failures) == (1000, 995, 5)
    gates.refuse_failures(Gates(failures_at_most=0.01), "RUN1", counts)

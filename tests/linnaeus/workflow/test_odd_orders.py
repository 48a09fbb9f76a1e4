"""Workflow runs whose steps come twice, in another order, or behind a process that was killed."""

from dataclasses import replace

import pytest

from linnaeus import layout
from linnaeus.labels import LabelsTable
from linnaeus.models import load_model
from linnaeus.training.exporting import publication
from linnaeus.workflow import candidates
from linnaeus.workflow.context import Context, Refused
from linnaeus.workflow.steps import scoring, training
from linnaeus.workflow.workflow_run import WorkflowRun
from tests.linnaeus.workflow.conftest import Place, statuses

pytestmark = pytest.mark.slow


def promoted(place: Place) -> None:
    """As a process leaves it that is killed before it records what it published."""
    candidate = candidates.load(place.workspace, "colours", "next")
    assert candidates.promote(place.workspace, candidate).version == 2


def context_of(place: Place, **sections) -> Context:
    run = WorkflowRun.load(place.workspace, "nightly", "next")
    return Context(place.workspace, place.workflow(**sections), run, progress=None)


def test_a_candidate_is_not_published_before_it_is_evaluated(candidate):
    run = candidate.workflow_run("next", "publish")
    assert "--only evaluate first" in run.trouble.line
    assert candidate.versions == [1]
    candidate.workflow_run("next", "evaluate", gates={"skew": False})
    context = context_of(candidate)
    evaluated = context.run.step("evaluate")
    other = replace(evaluated, facts={**evaluated.facts, "training_run": "another"})
    context.run.after(other).save(candidate.workspace)
    run = candidate.workflow_run("next", "publish")
    assert "--only evaluate first" in run.trouble.line
    assert candidate.versions == [1]


def test_a_workflow_run_that_was_killed_after_it_published_goes_on_with_that_version(candidate):
    candidate.workflow_run("next", "evaluate")
    promoted(candidate)
    run = candidate.workflow_run("next", "train,evaluate,publish", gates={"skew": False})
    assert run.trouble is None
    assert run.step("publish").facts == {"model": "colours", "version": 2, "replaced": 1}
    assert run.step("evaluate").facts["current_version"] == 1
    assert candidate.versions == [1, 2]


def test_a_model_that_grew_old_is_not_taken_for_its_own_successor(candidate):
    promoted(candidate)
    context = context_of(candidate)
    context.run = replace(context.run, id="later")
    current = load_model(candidate.workspace, "colours")
    assert training._kept(context, current) is None
    assert training._kept(context, load_model(candidate.workspace, "colours:1"))


def test_a_version_that_labels_of_another_source_are_of_is_not_taken_back(candidate, monkeypatch):
    promoted(candidate)
    second = load_model(candidate.workspace, "colours:2").identity
    refusal = Refused("too many")
    monkeypatch.setattr(LabelsTable, "current", lambda *_: (0, 0))
    monkeypatch.setattr(LabelsTable, "are_of", lambda _, model: model == second)
    scoring._take_back(context_of(candidate), 2, refusal)
    assert candidate.versions == [1, 2]
    monkeypatch.undo()
    labels = LabelsTable(candidate.workspace, "colours")
    first = load_model(candidate.workspace, "colours:1").identity
    assert labels.are_of(first) and not labels.are_of(second)


def test_a_withdrawal_that_was_broken_off_can_be_done_again(candidate, monkeypatch):
    promoted(candidate)
    run_id = load_model(candidate.workspace, "colours:2").run_id

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(publication, "withdraw", killed)
        candidates.withdraw(candidate.workspace, "colours", 2)
    candidates.withdraw(candidate.workspace, "colours", 2)
    assert candidate.versions == [1]
    assert candidate.workspace.head(layout.summary(run_id)) is None


def test_labels_of_a_version_that_was_taken_back_are_not_asked_for(candidate):
    candidate.workflow_run("next", "evaluate")
    candidate.workflow_run("next", "publish", gates={"skew": False})
    candidates.withdraw(candidate.workspace, "colours", 2)
    run = candidate.workflow_run("next", "score")
    assert statuses(run)["score"] == "failed"
    assert "again from train" in run.trouble.line

"""A run is named by its id or by its model; what cannot be shown is refused in one line."""

import pytest

from linnaeus import layout, manifests
from linnaeus.errors import ConfigurationError
from linnaeus.records import Counts
from linnaeus.report.finished import find
from linnaeus.runs import RunEnding
from linnaeus.storage import Folder
from tests.linnaeus.report.finished_runs import (
    SCORING_RUN,
    TRAINING_RUN,
    Pictures,
    write_scoring,
    write_training,
)


@pytest.mark.parametrize("named", [TRAINING_RUN, "things", "things:1"])
def test_a_training_run_is_found(named: str, things: Pictures, workspace: Folder):
    model = write_training(workspace, things)
    found = find(workspace, named)
    assert (found.run_id, found.job, found.model) == (TRAINING_RUN, "train", model)


def refusal(workspace: Folder, run: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        find(workspace, run)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_what_does_not_exist_is_refused(things: Pictures, workspace: Folder):
    write_training(workspace, things)
    assert "no run and no model 'flowers'" in refusal(workspace, "flowers")
    assert "things:1" in refusal(workspace, "things:2")
    assert "cannot name" in refusal(workspace, "../../etc")


def test_a_model_of_an_older_release_is_refused(things: Pictures, workspace: Folder):
    write_training(workspace, things, run_id="")
    assert "train it anew" in refusal(workspace, "things")


def test_a_model_whose_training_was_killed_before_it_was_recorded_is_refused(
    things: Pictures, workspace: Folder
):
    write_training(workspace, things)
    workspace.delete(layout.summary(TRAINING_RUN))
    assert "things:1 was ended before" in (said := refusal(workspace, "things"))
    assert "commit" not in said


def test_an_unfinished_run_is_refused(workspace: Folder):
    workspace.write(layout.plan(TRAINING_RUN), b"plan")
    assert f"linnaeus commit {TRAINING_RUN}" in refusal(workspace, TRAINING_RUN)


def test_a_run_of_a_model_whose_name_another_one_has_is_refused(
    things: Pictures, workspace: Folder, tmp_path
):
    write_training(workspace, things)
    write_scoring(workspace, things, manifests.freeze(workspace, str(tmp_path / "things")), [])
    assert find(workspace, SCORING_RUN).model.identity == TRAINING_RUN
    write_training(workspace, things, run_id="01KAP0000000000000000THER")
    assert "another one has its name" in refusal(workspace, SCORING_RUN)


def test_a_run_that_only_embedded_is_refused(workspace: Folder):
    embedded = RunEnding(TRAINING_RUN, "embed", "", "", counts=Counts())
    workspace.write(layout.summary(TRAINING_RUN), embedded.to_json().encode())
    assert "'embed'" in refusal(workspace, TRAINING_RUN)


def test_a_run_that_was_given_up_is_refused(workspace: Folder):
    given_up = RunEnding(TRAINING_RUN, "score", "", "", given_up_because="silent")
    workspace.write(layout.summary(TRAINING_RUN), given_up.to_json().encode())
    assert "given up unfinished" in refusal(workspace, TRAINING_RUN)

"""Which pictures a page shows, and what it counts."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from linnaeus import manifests
from linnaeus.report import judgements
from linnaeus.report.finished import find
from linnaeus.report.judgements import CONFIDENCE_BINS, Verdict
from linnaeus.storage import Folder
from tests.linnaeus.report.finished_runs import (
    SCORING_RUN,
    TRAINING_RUN,
    Pictures,
    write_scoring,
    write_training,
)


@pytest.fixture
def tested(things: Pictures, workspace: Folder) -> Pictures:
    """The test pictures of a training run: all but the first fifth."""
    write_training(workspace, things)
    return dataclasses.replace(
        things, uris=things.uris[12:], truths=things.truths[12:], scores=things.scores[12:]
    )


def of_training(workspace: Folder):
    return judgements.of_training(workspace, find(workspace, TRAINING_RUN))


def right(pictures: Pictures) -> np.ndarray:
    best = [pictures.labels[n] for n in pictures.scores.argmax(axis=1)]
    return np.array([[label] == truth for label, truth in zip(best, pictures.truths, strict=True)])


def test_verdicts_are_counted_on_test_pictures(tested: Pictures, workspace: Folder):
    with of_training(workspace) as judged:
        assert judged.verdicts() == {
            "right": right(tested).sum(),
            "wrong": (~right(tested)).sum(),
            "unsure": 0,
            "open": 0,
        }


def test_mistakes_come_by_falling_confidence(tested: Pictures, workspace: Folder):
    with of_training(workspace) as judged:
        found = judged.mistakes(5)
    confidence = tested.scores.max(axis=1)
    expected = [n for n in np.argsort(-confidence) if not right(tested)[n]][:5]
    assert [one.uri for one in found] == [tested.uris[n] for n in expected]
    assert all(one.verdict is Verdict.WRONG and one.said != one.truth for one in found)


def test_the_least_certain_come_first(tested: Pictures, workspace: Folder):
    with of_training(workspace) as judged:
        found = judged.least_certain(7)
    expected = np.argsort(tested.scores.max(axis=1))[:7]
    assert [one.uri for one in found] == [tested.uris[n] for n in expected]


def test_the_same_sample_is_picked_again(tested: Pictures, workspace: Folder):
    samples = []
    for _ in range(2):
        with of_training(workspace) as judged:
            samples.append([one.uri for one in judged.sample(9)])
    assert samples[0] == samples[1]
    assert len(set(samples[0])) == 9
    assert set(samples[0]) < set(tested.uris)


def test_histogram_has_every_picture_in_its_range(tested: Pictures, workspace: Folder):
    with of_training(workspace) as judged:
        bins = judged.confidences()
    expected, _ = np.histogram(tested.scores.max(axis=1), CONFIDENCE_BINS, (0, 1))
    assert [sum(one.values()) for one in bins] == expected.tolist()
    assert sum(one["wrong"] for one in bins) == (~right(tested)).sum()


def test_below_its_threshold_a_model_gives_no_answer(things: Pictures, workspace: Folder):
    careful = dataclasses.replace(things, thresholds={"abstain_below": 0.6})
    write_training(workspace, careful)
    with of_training(workspace) as judged:
        unsure = (things.scores[12:].max(axis=1).astype(np.float32) < np.float32(0.6)).sum()
        assert judged.verdicts()["unsure"] == unsure > 0
        assert judged.least_certain(1)[0].answer == "unknown"


def test_several_labels_are_right_when_all_are(things: Pictures, workspace: Folder):
    scores = np.tile([[0.9, 0.8, 0.1], [0.4, 0.2, 0.1], [0.9, 0.1, 0.1]], (20, 1))
    truths = [["cat", "bird"], [], ["bird", "dog"]] * 20
    write_training(
        workspace, dataclasses.replace(things, truths=truths, scores=scores, task="multi")
    )
    with of_training(workspace) as judged:
        assert judged.verdicts() == {"right": 32, "wrong": 16, "unsure": 0, "open": 0}
        assert judged.labels() == [("bird", 32), ("cat", 16)]
        assert judged.least_certain(1)[0].answer == "no label"  # 0.4 is the score nearest 0.5


def scored(workspace: Folder, pictures: Pictures, root: Path):
    write_training(workspace, pictures)
    write_scoring(workspace, pictures, manifests.freeze(workspace, str(root)), [])
    return judgements.of_scoring(workspace, find(workspace, SCORING_RUN))


def test_a_scoring_run_is_judged_by_the_manifest(
    things: Pictures, workspace: Folder, tmp_path: Path
):
    with scored(workspace, things, tmp_path / "things") as judged:
        verdicts = judged.verdicts()
        assert (verdicts["right"], verdicts["wrong"]) == (
            right(things).sum(),
            (~right(things)).sum(),
        )
        assert sum(count for _, count in judged.labels()) == 60


def test_folders_that_the_model_does_not_know_are_no_labels(
    things: Pictures, workspace: Folder, tmp_path: Path
):
    renamed = tmp_path / "things" / "2026-11-22"
    (tmp_path / "things" / "bird").rename(renamed)
    moved = [uri.replace("/things/bird/", "/things/2026-11-22/") for uri in things.uris]
    with scored(workspace, dataclasses.replace(things, uris=moved), tmp_path / "things") as judged:
        assert judged.verdicts()["open"] == 20
        found = next(one for one in judged.sample(60) if one.verdict is Verdict.OPEN)
        assert (found.truth, found.truth_text) == (None, "")

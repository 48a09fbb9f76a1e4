"""Which pictures a page shows, and what it counts."""

import dataclasses
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from linnaeus import layout, manifests
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


def test_only_what_the_models_test_held_out_is_judged_in_a_scoring_run(
    things: Pictures, workspace: Folder, tmp_path: Path
):
    with scored(workspace, things, tmp_path / "things") as judged:
        expected = {"right": right(things)[12:].sum(), "wrong": (~right(things)[12:]).sum()}
        assert judged.verdicts() == {**expected, "unsure": 0, "open": 12}
        assert judged.held_out() == {**expected, "unsure": 0, "open": 0}
        shown = {one.uri: one for one in judged.sample(60)}
        assert {uri for uri, one in shown.items() if one.truth is None} == set(things.uris[:12])
        assert sum(count for _, count in judged.labels()) == 60


class Copied(Pictures):
    """A copy, whose name ends in 2, has the content of the original."""

    @property
    def digests(self) -> list[str]:
        return [hashlib.sha256(uri.removesuffix("2").encode()).hexdigest() for uri in self.uris]


def test_copies_are_known_by_their_content_and_counted_once(
    things: Pictures, workspace: Folder, tmp_path: Path
):
    copies = [shutil.copy(uri, f"{uri}2") for uri in things.uris]
    both, listing = [*things.uris, *copies], tmp_path / "all.csv"
    listing.write_text("uri\n" + "\n".join(both))
    twice = {"truths": [*things.truths] * 2, "scores": np.tile(things.scores, (2, 1))}
    everything = Copied(**vars(things) | twice | {"uris": both})
    write_training(workspace, things)
    write_scoring(workspace, everything, manifests.freeze(workspace, str(listing)), [])
    with judgements.of_scoring(workspace, find(workspace, SCORING_RUN)) as judged:
        assert judged.verdicts()["open"] == 24
        assert sum(judged.held_out().values()) == 48
        assert judged.held_out()["right"] == right(things)[12:].sum()


@pytest.mark.parametrize("recorded", [True, False])
def test_folders_that_are_named_like_labels_are_no_labels(
    recorded, things: Pictures, workspace: Folder, tmp_path: Path
):
    elsewhere = [uri.replace("/things/", "/labelled/") for uri in things.uris]
    write_training(workspace, dataclasses.replace(things, uris=elsewhere))
    if not recorded:
        workspace.delete(layout.held_out_predictions(TRAINING_RUN))
    root = str(tmp_path / "things")
    write_scoring(workspace, things, manifests.freeze(workspace, root), [])
    with judgements.of_scoring(workspace, find(workspace, SCORING_RUN)) as judged:
        assert judged.verdicts() == {"right": 0, "wrong": 0, "unsure": 0, "open": 60}
        assert sum(judged.held_out().values()) == 0
        assert {(one.truth, one.truth_text) for one in judged.sample(60)} == {(None, "")}

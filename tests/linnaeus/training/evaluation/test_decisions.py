import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from linnaeus.training.evaluation.decisions import DecisionRule, best_first

LABELS = ("a b", "größe", "x,y", "z", "日本", "ü")


@st.composite
def scores_of_images(draw: st.DrawFn) -> np.ndarray:
    images = draw(st.integers(0, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.integers(0, 11, (images, len(LABELS))) / 10


def by_score(row: np.ndarray) -> list[int]:
    return sorted(range(len(row)), key=lambda one: (-row[one], one))


@settings(deadline=None)
@given(scores_of_images(), st.sampled_from([0.0, 0.3, 0.75, 1.0]))
def test_a_single_model_says_its_best_label_or_unknown(scores: np.ndarray, below: float) -> None:
    said = DecisionRule(LABELS, thresholds={"abstain_below": below}).decide(scores)
    for i, row in enumerate(scores.astype(np.float32)):
        best = by_score(row)
        sure = row[best[0]] >= np.float32(below)
        assert said.label[i] == (LABELS[best[0]] if sure else "unknown")
        assert said.labels[i] == ([LABELS[best[0]]] if sure else [])
        assert said.confidence[i] == row[best[0]]
        assert said.top_labels[i] == [LABELS[one] for one in best[:5]]
        assert said.top_scores[i].tolist() == row[best[:5]].tolist()


@settings(deadline=None)
@given(scores_of_images(), st.lists(st.sampled_from([0.0, 0.3, 0.75, 2.0]), min_size=6, max_size=6))
def test_a_multi_model_says_all_labels_at_their_thresholds(
    scores: np.ndarray, thresholds: list[float]
) -> None:
    rule = DecisionRule(LABELS, "multi", dict(zip(LABELS, thresholds, strict=True)))
    said = rule.decide(scores)
    for i, row in enumerate(scores.astype(np.float32)):
        best = by_score(row)
        sure = [one for one in best if row[one] >= np.float32(thresholds[one])]
        assert said.labels[i] == [LABELS[one] for one in sure]
        assert said.label[i] == (LABELS[sure[0]] if sure else "unknown")
        assert said.confidence[i] == row[sure[0] if sure else best[0]]
        assert said.top_labels[i] == [LABELS[one] for one in best[:5]]


def test_a_label_without_a_threshold_has_one_of_a_half() -> None:
    said = DecisionRule(("a", "b"), "multi", {"a": 0.9}).decide(np.array([[0.8, 0.5]]))
    assert said.labels == [["b"]]


def test_without_thresholds_a_single_model_always_says_its_best() -> None:
    assert DecisionRule(("a", "b")).decide(np.array([[0.0, 0.0]])).label == ["a"]


def test_of_equal_scores_the_first_label_comes_first() -> None:
    assert best_first(np.array([[0.2, 0.5, 0.5, 0.2]])).tolist() == [[1, 2, 0, 3]]

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnaeus.storage import Folder
from linnaeus.training.checkpoints import StoredCheckpoints
from linnaeus.training.config import LinearConfig
from linnaeus.training.data.examples import Examples
from linnaeus.training.heads.head import BLOCK_ROWS, Standardisation, log_softmax
from linnaeus.training.heads.linear import (
    FINAL_TOLERANCE,
    PATH_TOLERANCE,
    Objective,
    fit,
    minimise,
    minimum,
)
from linnaeus.training.heads.loss import evaluate
from tests.linnaeus.training.heads.rows import Evaluations, examples, labelled, of_several_labels


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_the_gradient_equals_finite_differences(seed: int, l2: float) -> None:
    objective = Objective.of(examples(seed, images=20, size=4), 3)
    rng = np.random.default_rng(seed)
    at = rng.normal(size=objective.shape).ravel()
    direction = rng.normal(size=at.shape)
    _, gradient = objective.value_and_gradient(at, l2)
    step = 1e-2
    above, _ = objective.value_and_gradient(at + step * direction, l2)
    below, _ = objective.value_and_gradient(at - step * direction, l2)
    assert gradient @ direction == pytest.approx((above - below) / (2 * step), rel=1e-2, abs=2e-3)


@pytest.mark.parametrize("l2", [1.0, 0.03, 0.001])
def test_the_optimum_equals_scikit_learns(l2: float) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rows = examples()
    objective = Objective.of(rows, 3)
    head = objective.head(minimise(objective, l2, np.zeros(objective.shape), 1e-9))
    scaler = StandardScaler().fit(rows.embeddings, sample_weight=rows.weights)
    strength = 1 / (l2 * rows.weights.sum())
    oracle = LogisticRegression(C=strength, tol=1e-8, max_iter=2000).fit(
        scaler.transform(rows.embeddings), rows.targets, sample_weight=rows.weights
    )
    expected = oracle.predict_log_proba(scaler.transform(rows.embeddings))
    assert np.allclose(log_softmax(head.logits(rows.embeddings)), expected, atol=1e-2)


def test_the_loss_over_several_blocks_equals_the_formula() -> None:
    rows = examples(images=2 * BLOCK_ROWS + 5, size=3)
    objective = Objective.of(rows, 3)
    parameters = np.random.default_rng(0).normal(size=(4, 3))
    centre = np.average(rows.embeddings.astype(np.float64), axis=0, weights=rows.weights)
    spread = np.average((rows.embeddings - centre) ** 2, axis=0, weights=rows.weights)
    logits = (rows.embeddings - centre) / np.sqrt(spread) @ parameters[:-1] + parameters[-1]
    of_truth = log_softmax(logits)[np.arange(len(rows)), rows.targets]
    expected = -np.average(of_truth, weights=rows.weights) + 0.05 * (parameters[:-1] ** 2).sum()
    loss, _ = objective.value_and_gradient(parameters.ravel(), 0.1)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_a_weight_of_two_counts_as_the_image_twice() -> None:
    rows = examples(images=40)
    doubled = Examples(rows.embeddings, rows.targets, np.where(np.arange(40) < 9, 2.0, 1.0))
    twice = np.concatenate([np.arange(40), np.arange(9)])
    repeated = Examples(rows.embeddings[twice], rows.targets[twice], np.ones(49))
    at = np.random.default_rng(0).normal(size=(13, 3)).ravel()
    weighted, copied = (Objective.of(e, 3).value_and_gradient(at, 0.1) for e in (doubled, repeated))
    assert weighted[0] == pytest.approx(copied[0], rel=1e-5)
    assert np.allclose(weighted[1], copied[1], atol=1e-5)


def test_a_constant_column_and_a_shifted_scale_are_harmless() -> None:
    rows = examples()
    shifted = np.hstack([rows.embeddings, np.full((len(rows), 1), 5.0, np.float32)])
    scale = Standardisation.of(shifted, rows.weights)
    assert scale.deviation[-1] == 1.0
    assert np.allclose(np.average(scale.apply(shifted), axis=0, weights=rows.weights), 0, atol=1e-4)


def test_the_strength_with_the_lowest_validation_loss_is_chosen() -> None:
    data = labelled(examples(images=300), 100, 100, 100)
    found = fit(data, LinearConfig(l2=(10.0, 0.1, 1e-6)))
    losses = found.chosen["validation_log_loss"]
    assert found.chosen["l2"] == float(min(losses, key=losses.get)) == 0.1


def test_the_published_head_has_seen_the_validation_images_but_never_the_test() -> None:
    rows = examples(images=300)
    data = labelled(rows, 100, 100, 100)
    found = fit(data, LinearConfig(l2=(0.1,)))
    seen = Objective.of(data.examples("train", "validation"), 3)
    assert len(seen.examples) == 200
    expected = seen.head(minimise(seen, 0.1, np.zeros(seen.shape), FINAL_TOLERANCE))
    embeddings = rows.embeddings
    assert np.allclose(found.finish().logits(embeddings), expected.logits(embeddings), atol=0.05)
    scrambled = Examples(
        rows.embeddings, np.where(np.arange(300) < 200, rows.targets, 0), rows.weights
    )
    again = fit(labelled(scrambled, 100, 100, 100), LinearConfig(l2=(0.1,)))
    assert np.array_equal(again.finish().logits(embeddings), found.finish().logits(embeddings))


def test_the_path_ends_when_validation_keeps_getting_worse() -> None:
    told = []
    rows = examples(images=60, size=40)
    meaningless = Examples(rows.embeddings, np.arange(60) % 3, rows.weights)
    data = labelled(meaningless, 30, 20, 10)
    strengths = (1.0, 0.1, 1e-3, 1e-5, 1e-7, 1e-9)
    fit(data, LinearConfig(l2=strengths), told.append)
    assert told == [1, 2, 3]


def test_several_labels_have_the_optima_of_one_logistic_regression_each() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rows = of_several_labels()
    objective = Objective.of(rows, 4)
    head = objective.head(minimise(objective, 0.03, np.zeros(objective.shape), 1e-10))
    scaler = StandardScaler().fit(rows.embeddings, sample_weight=rows.weights)
    for label in range(4):
        strength = 1 / (0.03 * rows.weights.sum())
        oracle = LogisticRegression(C=strength, tol=1e-8, max_iter=2000).fit(
            scaler.transform(rows.embeddings), rows.targets[:, label], sample_weight=rows.weights
        )
        expected = oracle.decision_function(scaler.transform(rows.embeddings))
        assert np.allclose(head.logits(rows.embeddings)[:, label], expected, atol=1e-2)


def test_a_head_for_several_labels_is_chosen_by_validation() -> None:
    rows = of_several_labels()
    found = fit(labelled(rows, 150, 100, 50), LinearConfig(l2=(30.0, 0.03)))
    assert found.chosen["l2"] == 0.03
    assert found.finish().logits(rows.embeddings).shape == (300, 4)
    assert found.curve[-1].validation_accuracy > 0.5


def test_conditioning_costs_fewer_passes_and_keeps_the_optimum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(2000, 40)) @ (rng.normal(size=(40, 40)) / np.arange(1, 41)[:, None])
    truth = (mixed[:, :3] + 0.3 * rng.normal(size=(2000, 3))).argmax(axis=1)
    rows = Examples(mixed.astype(np.float32), truth, np.ones(2000, np.float32))
    conditioned = Objective.of(rows, 3)
    plain = Objective(rows, 3, conditioned.standardisation, None)
    assert conditioned.curvature
    passes, heads = [], []
    for objective in (conditioned, plain):
        evaluations = Evaluations(monkeypatch)
        parameters = minimise(objective, 1e-3, np.zeros(objective.shape), 1e-10)
        heads.append(objective.head(parameters).logits(rows.embeddings))
        passes.append(evaluations.count)
    assert np.allclose(*heads, atol=0.1)
    # How many fewer depends on the processor, whose rounding decides when a search ends.
    assert passes[0] < 0.7 * passes[1]


def test_the_curve_tells_of_every_strength_how_it_did_on_both_splits() -> None:
    data = labelled(examples(images=300), 100, 100, 100)
    found = fit(data, LinearConfig(l2=(0.1,)))
    (point,) = found.curve
    train, validation = (
        evaluate(found.validated, data.examples(n)) for n in ("train", "validation")
    )
    assert point.train_loss == pytest.approx(train.log_loss, rel=1e-5)
    assert point.train_accuracy == train.accuracy
    assert (point.validation_loss, point.validation_accuracy) == (
        validation.log_loss,
        validation.accuracy,
    )


def test_a_minimum_knows_its_loss_without_another_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Objective.of(examples(), 3)
    evaluations = Evaluations(monkeypatch)
    found = minimum(objective, 0.1, np.zeros(objective.shape), PATH_TOLERANCE)
    passes = evaluations.count
    _, _, score = objective.evaluate(found.parameters, 0.1)
    assert (found.train, evaluations.count) == (score, passes + 1)


def test_an_interrupted_training_goes_on_to_the_same_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = labelled(examples(images=300), 100, 100, 100)
    config = LinearConfig(l2=(10.0, 1.0, 0.1, 0.01))
    checkpoints = StoredCheckpoints(Folder(str(tmp_path)), {"l2": config.l2})

    def interrupt(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    evaluations = Evaluations(monkeypatch)
    expected = fit(data, config)
    uninterrupted, evaluations.count = evaluations.count, 0
    with pytest.raises(KeyboardInterrupt):
        fit(data, config, interrupt, checkpoints)
    before, evaluations.count = evaluations.count, 0
    found = fit(data, config, checkpoints=checkpoints)
    assert before + evaluations.count == uninterrupted
    assert before > 0
    assert (found.chosen, found.curve) == (expected.chosen, expected.curve)
    embeddings = data.rows.embeddings
    for one, other in ((found.validated, expected.validated), (found.finish(), expected.finish())):
        assert np.array_equal(one.logits(embeddings), other.logits(embeddings))

from pathlib import Path

import numpy as np
import pytest

from linnaeus.storage import Folder
from linnaeus.training.checkpoints import StoredCheckpoints
from linnaeus.training.config import KernelConfig, LinearConfig
from linnaeus.training.data.examples import Examples, LabelledEmbeddings
from linnaeus.training.heads.head import RadialBasis, Standardisation
from linnaeus.training.heads.kernel import Features, choose_centres, fit
from linnaeus.training.heads.linear import fit as fit_linear
from linnaeus.training.heads.linear import minimise
from linnaeus.training.heads.loss import evaluate
from tests.linnaeus.training.heads.rows import Evaluations, rings

CONFIG = KernelConfig(centres=60, gamma=(0.5, 2.0), l2=(1.0, 0.1, 0.01))


def features(data: LabelledEmbeddings, centres: int, gamma: float) -> Features:
    rows = data.examples("train")
    scale = Standardisation.of(rows.embeddings, rows.weights)
    return Features.around(rows.embeddings[:centres], scale, gamma)


def test_it_learns_what_no_linear_head_can() -> None:
    data = rings()
    test = data.examples("test")
    assert evaluate(fit_linear(data, LinearConfig()).finish(), test).accuracy < 0.7
    found = fit(data, CONFIG, seed=0)
    assert evaluate(found.finish(), test).accuracy > 0.98
    assert evaluate(found.validated, test).accuracy > 0.98
    assert isinstance(found.validated.layers[0], RadialBasis)


def test_products_of_features_are_the_kernel_at_the_centres_and_near_it_elsewhere() -> None:
    from sklearn.kernel_approximation import Nystroem
    from sklearn.metrics.pairwise import rbf_kernel

    data = rings()
    rows = data.examples("train")
    made = features(data, 80, 0.5)
    found = made.of(rows).embeddings
    standardised = Standardisation.of(rows.embeddings, rows.weights).apply(rows.embeddings)
    kernel = rbf_kernel(standardised, gamma=0.5 / 2)
    assert np.allclose((found @ found.T)[:80, :80], kernel[:80, :80], atol=1e-3)
    oracle = Nystroem(gamma=0.25, n_components=300).fit_transform(standardised)
    assert np.allclose(found @ found.T, oracle @ oracle.T, atol=0.05)


def test_the_optimum_is_that_of_a_logistic_regression_on_the_features() -> None:
    from sklearn.linear_model import LogisticRegression

    data = rings()
    rows = data.examples("train")
    made = features(data, 50, 1.0)
    objective = made.objective(rows, 2)
    head = made.head(objective, minimise(objective, 0.01, np.zeros(objective.shape), 1e-10))
    scaled = objective.standardisation.apply(objective.examples.embeddings)
    oracle = LogisticRegression(C=2 / (0.01 * len(rows)), tol=1e-8, max_iter=2000)
    expected = oracle.fit(scaled, rows.targets).decision_function(scaled)
    logits = head.logits(rows.embeddings)
    assert np.allclose(logits[:, 1] - logits[:, 0], expected, atol=0.05)


def test_all_images_are_centres_where_there_are_fewer() -> None:
    data = rings(200)
    found = fit(data, KernelConfig(centres=1000, gamma=(1.0,), l2=(0.1,)), seed=0)
    assert found.chosen["centres"] == data.counts["train"]


def test_centres_have_the_labels_proportions_and_weigh_something() -> None:
    targets = np.repeat([0, 1, 2], [500, 300, 200])
    weights = np.tile([1, 0], 500).astype(np.float32)
    chosen = choose_centres(Examples(np.zeros((1000, 2), np.float32), targets, weights), 50, 0)
    assert np.abs(np.bincount(targets[chosen]) - [25, 15, 10]).max() <= 1
    assert weights[chosen].all()
    assert len(set(chosen.tolist())) == 50


def test_centres_of_several_labels_are_chosen_too() -> None:
    targets = np.eye(3, dtype=np.uint8)[np.repeat([0, 1, 2], 10)]
    examples = Examples(np.zeros((30, 2), np.float32), targets, np.ones(30, np.float32))
    assert len(choose_centres(examples, 6, 0)) == 6


def test_a_seed_decides_every_weight() -> None:
    data = rings(300)
    embeddings = data.rows.embeddings
    one, same, other = (fit(data, CONFIG, seed).finish().logits(embeddings) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_rounds_are_reported_over_all_widths() -> None:
    told: list[int] = []
    fit(rings(300), CONFIG, 0, told.append)
    assert told[:2] == [1, 2]
    assert told == sorted(told)
    assert 4 in told


def test_an_interrupted_training_goes_on_to_the_same_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rings(300)
    checkpoints = StoredCheckpoints(Folder(str(tmp_path)), {})

    def interrupt(done: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    evaluations = Evaluations(monkeypatch)
    expected = fit(data, CONFIG, 0)
    uninterrupted, evaluations.count = evaluations.count, 0
    with pytest.raises(KeyboardInterrupt):
        fit(data, CONFIG, 0, interrupt, checkpoints)
    before, evaluations.count = evaluations.count, 0
    found = fit(data, CONFIG, 0, checkpoints=checkpoints)
    assert before + evaluations.count == uninterrupted
    assert found.chosen == expected.chosen
    embeddings = data.rows.embeddings
    assert np.array_equal(found.finish().logits(embeddings), expected.finish().logits(embeddings))

import io
import json
from dataclasses import asdict, replace
from itertools import count

import numpy as np
import pytest

from linnaeus.errors import ConfigurationError
from linnaeus.progress.steps import PlainProgress
from linnaeus.training.config import KernelConfig, LayersConfig, LinearConfig, TrainConfig
from linnaeus.training.heads.linear import fit as fit_linear
from linnaeus.training.heads.loss import evaluate
from linnaeus.training.heads.sweep import (
    IMAGES_A_HEAD,
    MANY_IMAGES,
    adapted,
    candidates,
    rounds,
    run,
    side_by_side,
    simplest,
)
from tests.linnaeus.training.heads.rows import examples, labelled, of_several_labels, rings

QUICK = TrainConfig(
    linear=LinearConfig((1.0, 0.1, 0.01)),
    kernel=KernelConfig(centres=50, gamma=(1.0,), l2=(0.1, 0.01)),
    layers=LayersConfig(epochs=3, learning_rate=0.01),
)


def test_a_named_kind_is_tried_alone_and_as_it_is_asked_for() -> None:
    for head, wanted in (
        ("linear", QUICK.linear),
        ("kernel", QUICK.kernel),
        ("layers", QUICK.layers),
    ):
        found = candidates(replace(QUICK, head=head, sweep=True))
        assert found == [wanted]
        assert adapted(found, 10**6) == found


def test_a_few_heads_of_every_kind_are_tried_by_default_and_dozens_in_a_sweep() -> None:
    few, many = candidates(TrainConfig()), candidates(TrainConfig(sweep=True))
    for found in (few, many):
        assert {type(one) for one in found} == {LinearConfig, KernelConfig, LayersConfig}
        assert len(set(found)) == len(found)
    assert len(few) <= 5
    assert len(many) >= 24


def test_heads_of_layers_that_a_person_describes_are_tried_too() -> None:
    own = LayersConfig(hidden=(7,), activation="tanh")
    for sweep in (False, True):
        found = candidates(TrainConfig(layers=own, sweep=sweep))
        assert own in found
        assert all(one.activation == "tanh" for one in found if isinstance(one, LayersConfig))


def test_many_images_shorten_the_training_of_layers_only() -> None:
    config = TrainConfig()
    assert adapted(candidates(config), MANY_IMAGES - 1) == candidates(config)
    for images in (MANY_IMAGES, 80_000, 10**6):
        linear, kernel, *layers = adapted(candidates(config), images)
        assert (linear, kernel) == (config.linear, config.kernel)
        for one in layers:
            assert isinstance(one, LayersConfig)
            assert one.epochs * images <= max(IMAGES_A_HEAD, 3 * images)
            assert one.batch_size > config.layers.batch_size


def test_heads_of_layers_learn_side_by_side_and_all_others_alone() -> None:
    linear, kernel, layers = side_by_side(candidates(QUICK))
    assert (len(linear), len(kernel), len(layers)) == (1, 1, 3)
    assert [rounds(group) for group in (linear, kernel, layers)] == [3, 2, 9]


def test_no_time_left_is_claimed_of_rounds_that_may_be_passed_over() -> None:
    told, seconds = io.StringIO(), count(step=100)
    progress = PlainProgress(told, lambda: float(next(seconds)))
    run(rings(300), replace(QUICK, head="linear"), progress=progress)
    first, *_ = told.getvalue().splitlines()
    assert first == "Train: 1 of 3 rounds at most"
    assert " left" not in told.getvalue()


def test_the_head_of_one_kind_is_that_of_its_trainer() -> None:
    data = labelled(examples(images=300), 150, 100, 50)
    found = run(data, replace(QUICK, head="linear"))
    expected = fit_linear(data, QUICK.linear)
    embeddings = data.rows.embeddings
    assert np.array_equal(
        found.best.finish().logits(embeddings), expected.finish().logits(embeddings)
    )
    (tried,) = found.tried
    assert (tried.kind, tried.settings) == ("linear", {"l2": expected.chosen["l2"]})
    assert tried.validation_log_loss <= 1.01 * min(expected.chosen["validation_log_loss"].values())
    assert tried.seconds > 0
    json.dumps(asdict(tried))


def test_balanced_weights_help_the_rare_label() -> None:
    rng = np.random.default_rng(0)
    data = labelled(examples(images=1200, classes=2), 600, 300, 300)
    rare = data.rows.targets == 1
    keep = np.where(rare & (rng.random(1200) < 0.9), 0, data.rows.weights).astype(np.float32)
    data = replace(data, rows=replace(data.rows, weights=keep))
    config = replace(QUICK, head="linear", linear=LinearConfig((10.0,)))
    recalls = []
    for weights in ("none", "balanced"):
        head = run(data, replace(config, class_weights=weights)).best.finish()
        recalls.append((head.logits(data.rows.embeddings).argmax(axis=1) == 1)[rare].mean())
    assert recalls[0] < 0.5 < recalls[1]


def test_images_of_several_labels_are_not_balanced() -> None:
    data = labelled(of_several_labels(), 150, 100, 50)
    with pytest.raises(ConfigurationError, match="one label an image"):
        run(data, replace(QUICK, class_weights="balanced"))


@pytest.mark.parametrize("head", ["auto", "linear", "kernel", "layers"])
def test_an_embedding_that_is_not_finite_is_refused_for_every_kind(head: str) -> None:
    data = labelled(examples(images=100), 60, 20, 20)
    data.rows.embeddings[70, 1] = np.nan
    with pytest.raises(ConfigurationError, match=r"embedding of /70\.jpg"):
        run(data, replace(QUICK, head=head))


@pytest.mark.slow
def test_the_best_kind_wins_and_all_are_told_of() -> None:
    data = rings()
    found = run(data, QUICK)
    assert [tried.kind for tried in found.tried] == ["linear", "kernel", *3 * ["layers"]]
    losses = [tried.validation_log_loss for tried in found.tried]
    assert found.best.kind != "linear"
    assert losses[0] > 2 * min(losses)
    assert evaluate(found.best.finish(), data.examples("test")).accuracy > 0.95
    json.dumps([asdict(tried) for tried in found.tried])


@pytest.mark.slow
def test_all_kinds_learn_several_labels() -> None:
    data = labelled(of_several_labels(images=600), 400, 100, 100)
    found = run(data, QUICK)
    assert {tried.kind for tried in found.tried} == {"linear", "kernel", "layers"}
    assert max(tried.validation_log_loss for tried in found.tried) < 0.693


def test_a_simpler_head_stays_where_a_better_one_may_be_chance() -> None:
    weights = np.ones(100, np.float32)
    simple = np.full(100, 0.5)
    lucky = simple.copy()
    lucky[0] = 0.1
    assert simplest([simple, lucky], weights) == 0
    assert simplest([lucky, simple], weights) == 0


def test_a_head_that_is_better_for_most_images_wins() -> None:
    rng = np.random.default_rng(0)
    simple = rng.exponential(0.5, 400)
    better = simple * rng.uniform(0.3, 1.0, 400)
    assert simplest([simple, better], np.ones(400, np.float32)) == 1


def test_images_of_no_weight_choose_no_head() -> None:
    weights = np.array([1] * 50 + [0] * 50, np.float32)
    simple = np.array([0.5] * 50 + [9.0] * 50)
    assert simplest([simple, np.array([0.5] * 100)], weights) == 0
    assert simplest([simple, np.array([0.4] * 50 + [9.0] * 50)], weights) == 1


def test_a_head_without_numbers_is_never_chosen() -> None:
    weights = np.ones(3, np.float32)
    assert simplest([np.full(3, np.nan), np.full(3, 0.7)], weights) == 1

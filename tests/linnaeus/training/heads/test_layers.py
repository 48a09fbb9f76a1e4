import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from linnaeus.errors import ConfigurationError
from linnaeus.storage import Folder
from linnaeus.training.checkpoints import Arrays, StoredCheckpoints
from linnaeus.training.config import LayersConfig
from linnaeus.training.data.examples import SPLITS, Examples, LabelledEmbeddings
from linnaeus.training.heads.head import Fit, Head
from linnaeus.training.monitoring import Monitoring
from tests.linnaeus.training.heads.rows import rings

pytestmark = pytest.mark.slow


CONFIG = LayersConfig(
    hidden=(32,), dropout=0.1, learning_rate=0.01, batch_size=32, epochs=30, patience=30
)


def accuracy(data: LabelledEmbeddings, config: LayersConfig, seed: int = 0) -> float:
    from linnaeus.training.heads.layers import fit

    test = data.examples("test")
    logits = fit(data, config, seed).finish().logits(test.embeddings)
    return float((logits.argmax(axis=1) == test.targets).mean())


def equal(first: Fit, second: Fit) -> bool:
    """Whether two heads have the same weights to the last bit, and the same history."""
    pairs = zip(first.finish().layers, second.finish().layers, strict=True)
    same = all(
        np.array_equal(one.kernel, two.kernel) and np.array_equal(one.bias, two.bias)
        for one, two in pairs
    )
    return same and first.curve == second.curve and first.chosen == second.chosen


def test_hidden_layers_learn_what_no_linear_head_can() -> None:
    assert accuracy(rings(), CONFIG) > 0.95


def test_a_seed_decides_every_weight() -> None:
    from linnaeus.training.heads.layers import fit

    config = LayersConfig(hidden=(8,), epochs=3)
    first, again, other = (fit(rings(), config, seed).finish() for seed in (1, 1, 2))
    for one, two in zip(first.layers, again.layers, strict=True):
        assert np.array_equal(one.kernel, two.kernel)
    assert not np.array_equal(first.layers[0].kernel, other.layers[0].kernel)


def test_training_stops_early_and_keeps_the_best_weights() -> None:
    from linnaeus.training.heads.layers import fit

    config = LayersConfig(learning_rate=3.0, hidden=(16,), epochs=40, patience=3)
    told: list[int] = []
    found = fit(rings(), config, 0, told.append)
    assert told[-1] == found.chosen["epochs"] == found.chosen["best_epoch"] + 3 < 40
    until_best = LayersConfig(
        learning_rate=3.0, hidden=(16,), epochs=found.chosen["best_epoch"], patience=3
    )
    best = fit(rings(), until_best, 0).finish()
    assert np.array_equal(found.finish().layers[0].kernel, best.layers[0].kernel)


def test_images_of_no_weight_teach_nothing() -> None:
    data = rings()
    rows = data.rows
    wrong = np.arange(len(rows)) % 3 == 0
    labels = np.where(wrong, 1 - rows.targets, rows.targets)
    labels[400:] = rows.targets[400:]
    weights = np.where(wrong, 0.0, 1.0).astype(np.float32)
    misled = Examples(rows.embeddings, labels, weights)
    weighted = LabelledEmbeddings(misled, data.uris, data.digests, data.labels, data.slices, {})
    assert accuracy(weighted, CONFIG) > 0.95


def test_weights_count_relative_to_their_mean() -> None:
    from linnaeus.training.heads.layers import fit

    data, config = rings(), LayersConfig(hidden=(4,), epochs=2, l2=0.1)
    heavy = replace(data, rows=replace(data.rows, weights=data.rows.weights * 8))
    assert equal(fit(data, config, 0), fit(heavy, config, 0))


def test_fewer_images_than_a_batch_still_train() -> None:
    from linnaeus.training.heads.layers import fit

    found = fit(rings(60), LayersConfig(hidden=(16,), batch_size=1000, epochs=40, dropout=0), 0)
    assert found.curve[-1].train_loss < found.curve[0].train_loss - 0.03


def test_a_balanced_sample_finds_the_rare_label() -> None:
    data = rings(3000)
    targets = data.rows.targets
    rare = np.random.default_rng(0).random(3000) < 0.03
    keep = np.sort(np.flatnonzero((targets == 0) | rare | (np.arange(3000) >= 2000)))
    bounds = np.searchsorted(keep, [0, 1000, 2000, 3000])
    slices = {name: slice(bounds[i], bounds[i + 1]) for i, name in enumerate(SPLITS)}
    noisy = data.rows.embeddings + 60 * np.random.default_rng(1).normal(size=(3000, 2))
    rows = Examples(noisy.astype(np.float32)[keep], targets[keep], data.rows.weights[keep])
    few = replace(data, rows=rows, slices=slices)
    config = replace(CONFIG, sampling="shuffled", epochs=10)
    assert accuracy(few, replace(config, sampling="balanced")) > accuracy(few, config) + 0.05


def several_labels(data: LabelledEmbeddings) -> LabelledEmbeddings:
    """With the labels `outside` and `right` on each ring's images, both, one or neither."""
    rows = data.rows
    right = rows.embeddings[:, 0] > 300
    targets = np.stack([rows.targets, right], axis=1).astype(np.uint8)
    return replace(
        data, rows=replace(rows, targets=targets), labels=("outside", "right"), task="multi"
    )


def test_a_head_may_give_several_labels() -> None:
    from linnaeus.training.heads.layers import fit

    data = several_labels(rings())
    found = fit(data, CONFIG, 0)
    test = data.examples("test")
    hits = (found.finish().logits(test.embeddings) > 0) == test.targets
    assert hits.mean() > 0.95
    validation = data.examples("validation")
    hits = ((found.validated.logits(validation.embeddings) > 0) == validation.targets).all(axis=1)
    best = found.curve[found.chosen["best_epoch"] - 1]
    assert best.validation_accuracy == pytest.approx(hits.mean(), abs=1e-6)


def test_the_curve_says_how_every_epoch_went() -> None:
    from linnaeus.training.heads.layers import fit

    data = rings()
    found = fit(data, CONFIG, 0)
    assert [point.step for point in found.curve] == list(range(1, found.chosen["epochs"] + 1))
    best = min(found.curve, key=lambda point: point.validation_loss)
    assert best.step == found.chosen["best_epoch"]
    validation = data.examples("validation")
    logits = found.validated.logits(validation.embeddings)
    hits = logits.argmax(axis=1) == validation.targets
    scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    smoothed = 0.9 * scores[np.arange(len(hits)), validation.targets] + 0.1 * scores.mean(axis=1)
    assert best.validation_accuracy == pytest.approx(hits.mean(), abs=1e-6)
    assert best.validation_loss == pytest.approx(-smoothed.mean(), rel=1e-4)
    assert found.curve[0].train_loss > found.curve[-1].train_loss
    assert found.curve[-1].train_accuracy > 0.9


def test_with_steps_all_are_taken_and_the_last_weights_kept() -> None:
    from linnaeus.training.heads.layers import fit

    config = LayersConfig(hidden=(16,), learning_rate=3.0, patience=1, steps=25)
    told: list[int] = []
    heads: dict[int, Head] = {}

    def keep(step: int, give_head) -> None:
        heads[step] = give_head()

    found = fit(
        rings(), config, 0, told.append, monitoring=Monitoring(every_steps=10, on_step=keep)
    )
    assert [point.step for point in found.curve] == told == [10, 20, 25]
    assert min(found.curve, key=lambda point: point.validation_loss).step < 25
    assert list(heads) == list(range(1, 26))
    assert np.array_equal(heads[25].layers[0].kernel, found.finish().layers[0].kernel)
    assert not np.array_equal(heads[24].layers[0].kernel, heads[25].layers[0].kernel)
    assert found.chosen["steps"] == 25
    assert not {"epochs", "patience", "best_epoch"} & found.chosen.keys()


SIDE_BY_SIDE = (
    LayersConfig(hidden=(16,), epochs=4),
    LayersConfig(learning_rate=3.0, hidden=(16,), epochs=12, patience=2),
    LayersConfig(optimizer="rmsprop", momentum=0.5, decay="cosine", warmup_steps=5, epochs=6),
    LayersConfig(hidden=(8, 8), activation="gelu", batch_size=32, epochs=3),
    LayersConfig(sampling="balanced", optimizer="sgd", momentum=0.9, steps=12),
    LayersConfig(sampling="balanced", optimizer="adamw", l1=0.01, steps=12),
)


@pytest.fixture(scope="module")
def alone() -> list[Fit]:
    from linnaeus.training.heads.layers import fit

    return [fit(rings(), config, 1) for config in SIDE_BY_SIDE]


def test_heads_side_by_side_are_what_each_is_alone(alone: list[Fit]) -> None:
    from linnaeus.training.heads.layers import fit_many

    told: list[int] = []
    together = fit_many(rings(), SIDE_BY_SIDE, 1, told.append)
    assert all(equal(one, other) for one, other in zip(together, alone, strict=True))
    assert together[1].chosen["epochs"] < 12
    done = sum(head.chosen.get("epochs", head.chosen.get("steps")) for head in together)
    assert told == sorted(told) and told[-1] == done


def test_what_was_chosen_tells_heads_apart_and_leaves_out_what_did_not_matter() -> None:
    from linnaeus.training.heads.layers import fit_many

    linear, hidden = fit_many(rings(60), [LayersConfig(epochs=1), CONFIG], 0)
    assert linear.chosen != hidden.chosen
    assert hidden.chosen["hidden"] == (32,)
    assert hidden.chosen["activation"] == "relu"
    assert not {"activation", "momentum", "steps"} & linear.chosen.keys()


@pytest.mark.parametrize("settings", [{"epochs": 3}, {"steps": 30}])
def test_a_head_that_diverges_says_so_in_one_line(settings: Mapping[str, int]) -> None:
    from linnaeus.training.heads.layers import fit

    config = LayersConfig(hidden=(8, 8), optimizer="sgd", learning_rate=1e30, l2=0, **settings)
    with pytest.raises(ConfigurationError, match="learning_rate, now 1e\\+30") as error:
        fit(rings(), config, 0)
    assert "\n" not in str(error.value)


class InMemory:
    """Checkpoints that outlive an exception, not the process; and count how often they are used."""

    def __init__(self) -> None:
        self.arrays: dict[str, Arrays] = {}
        self.saves = 0

    def load(self, name: str) -> Arrays | None:
        return self.arrays.get(name)

    def save(self, name: str, arrays: Arrays) -> None:
        self.arrays[name] = dict(arrays)
        self.saves += 1


class Interrupted(Exception):  # noqa: N818
    pass


def interrupt_at(limit: int):
    """Raises once so much is done."""

    def report(done: int) -> None:
        if done >= limit:
            raise Interrupted

    return report


@pytest.mark.parametrize("limit", [4, 30])
def test_an_interrupted_training_goes_on_to_the_same_heads(
    limit: int, alone: list[Fit], monkeypatch: pytest.MonkeyPatch
) -> None:
    from linnaeus.training.heads import layers

    monkeypatch.setattr(layers, "SAVE_SEC", 0.0)
    monkeypatch.setattr(layers, "SAVING_SHARE", 1e9)
    data, checkpoints = rings(), InMemory()
    with pytest.raises(Interrupted):
        layers.fit_many(data, SIDE_BY_SIDE, 1, interrupt_at(limit), checkpoints)
    told: list[int] = []
    resumed = layers.fit_many(data, SIDE_BY_SIDE, 1, told.append, checkpoints)
    assert told[0] > limit
    assert all(equal(one, other) for one, other in zip(resumed, alone, strict=True))


def test_a_finished_training_is_not_done_again_but_another_is() -> None:
    from linnaeus.training.heads.layers import fit

    data, checkpoints = rings(), InMemory()
    config = LayersConfig(hidden=(4,), epochs=2)
    first = fit(data, config, 0, checkpoints=checkpoints)
    assert checkpoints.saves == 1
    assert equal(fit(data, config, 0, interrupt_at(0), checkpoints), first)
    assert checkpoints.saves == 1
    turned = replace(data, rows=replace(data.rows, targets=1 - data.rows.targets))
    assert equal(fit(turned, config, 0, checkpoints=checkpoints), fit(turned, config, 0))
    assert equal(fit(data, config, 1, checkpoints=checkpoints), fit(data, config, 1))
    longer = replace(config, epochs=3)
    assert equal(fit(data, longer, 0, checkpoints=checkpoints), fit(data, longer, 0))
    assert checkpoints.saves == 4


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    from linnaeus.training.heads.layers import fit

    checkpoints = StoredCheckpoints(Folder(str(tmp_path)), {"model": "rings"})
    config = LayersConfig(epochs=1)
    fit(rings(), config, 0, checkpoints=checkpoints)
    (file,) = tmp_path.glob("training/*/layers-*.npz")
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ConfigurationError, match="damaged: delete the folder") as error:
        fit(rings(), config, 0, checkpoints=checkpoints)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


LONG = LayersConfig(hidden=(8,), optimizer="adam", batch_size=16, steps=3000, decay="cosine")
CHILD = """
import sys
from linnaeus.storage import Folder
from linnaeus.training.heads import layers
from linnaeus.training.checkpoints import StoredCheckpoints
from tests.linnaeus.training.heads.rows import rings
from tests.linnaeus.training.heads.test_layers import LONG

layers.SAVE_SEC = 0.1
checkpoints = StoredCheckpoints(Folder(sys.argv[1]), {"model": "rings"})
layers.fit(rings(), LONG, 3, checkpoints=checkpoints)
"""


@pytest.mark.soak
def test_a_killed_training_goes_on_to_the_same_head(tmp_path: Path) -> None:
    from linnaeus.training.heads.layers import fit

    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], cwd=Path.cwd())
    try:
        wait_for_checkpoint(tmp_path, child, step=100)
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
    told: list[int] = []
    checkpoints = StoredCheckpoints(Folder(str(tmp_path)), {"model": "rings"})
    resumed = fit(rings(), LONG, 3, told.append, checkpoints)
    assert child.returncode == -signal.SIGKILL
    assert told[0] > 100
    assert equal(resumed, fit(rings(), LONG, 3))


def wait_for_checkpoint(folder: Path, child: subprocess.Popen, step: int) -> None:
    end = time.monotonic() + 100
    reached = 0
    while reached < step:
        assert child.poll() is None and time.monotonic() < end
        time.sleep(0.05)
        for file in folder.glob("training/*/layers-*.npz"):
            with np.load(file) as arrays:
                reached = int(arrays["step"])


def test_a_checkpoint_takes_a_small_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from linnaeus.training.heads import layers

    class Slow(InMemory):
        def save(self, name: str, arrays: Arrays) -> None:
            time.sleep(0.05)
            super().save(name, arrays)

    monkeypatch.setattr(layers, "SAVE_SEC", 0.01)
    checkpoints = Slow()
    began = time.monotonic()
    layers.fit(rings(), replace(LONG, steps=800), 0, checkpoints=checkpoints)
    assert checkpoints.saves <= 2 + (time.monotonic() - began)


def test_several_heads_have_summaries_of_their_own(tmp_path: Path) -> None:
    from linnaeus.training.heads.layers import fit_many

    monitoring = Monitoring(summaries_dir=str(tmp_path), every_steps=3)
    configs = [LayersConfig(epochs=1), LayersConfig(hidden=(3,), epochs=1)]
    fit_many(rings(), configs, 0, monitoring=monitoring)
    folders = {str(file.parent.relative_to(tmp_path)) for file in tmp_path.rglob("events.*")}
    assert folders == {f"head-{i}/{split}" for i in (0, 1) for split in ("train", "validation")}


def test_monitoring_changes_no_weight(tmp_path: Path) -> None:
    from linnaeus.training.heads.layers import fit

    monitoring = Monitoring(str(tmp_path), every_steps=3, on_step=lambda step, give: None)
    config = LayersConfig(hidden=(4,), epochs=2)
    assert equal(fit(rings(), config, 0, monitoring=monitoring), fit(rings(), config, 0))

import math

import pytest

from linnaeus.training.config import FineTuningConfig, LayersConfig

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("decay", "at_middle", "at_end"),
    [("none", 1.0, 1.0), ("cosine", 0.5, 0.0), ("exponential", 0.1, 0.01)],
)
def test_the_step_size_warms_up_then_falls_to_the_last_step(
    decay: str, at_middle: float, at_end: float
) -> None:
    from linnaeus.training.heads.schedules import WarmUpAndDecay

    schedule = WarmUpAndDecay(0.2, 10, decay, 110)
    assert [float(schedule(step)) for step in (0, 5, 10)] == pytest.approx([0, 0.1, 0.2])
    assert float(schedule(60)) == pytest.approx(0.2 * at_middle)
    assert float(schedule(110)) == pytest.approx(0.2 * at_end, abs=1e-7)
    assert float(schedule(500)) == pytest.approx(0.2 * at_end, abs=1e-7)


def test_a_cosine_without_warm_up_begins_with_the_full_step_size() -> None:
    from linnaeus.training.heads.schedules import WarmUpAndDecay

    schedule = WarmUpAndDecay(2.0, 0, "cosine", 8)
    expected = [1 + math.cos(math.pi * step / 8) for step in range(9)]
    assert [float(schedule(step)) for step in range(9)] == pytest.approx(expected, abs=1e-6)


def test_more_warm_up_than_steps_only_warms_up() -> None:
    from linnaeus.training.heads.schedules import WarmUpAndDecay

    schedule = WarmUpAndDecay(1.0, 100, "cosine", 10)
    assert float(schedule(10)) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "sgd"])
@pytest.mark.parametrize("kind", [LayersConfig, FineTuningConfig])
def test_every_optimiser_has_its_rate_and_momentum(
    name: str, kind: type[LayersConfig | FineTuningConfig]
) -> None:
    from linnaeus.training.heads.schedules import optimizer

    made = optimizer(kind(optimizer=name, learning_rate=0.02, momentum=0.7), steps=10)
    assert type(made).__name__.lower() == name
    assert float(made.learning_rate.numpy()) == pytest.approx(0.02)
    if name in {"sgd", "rmsprop"}:
        assert made.momentum == 0.7


def test_an_optimiser_follows_its_schedule() -> None:
    import keras

    from linnaeus.training.heads.schedules import optimizer

    weight = keras.Variable(0.0)
    made = optimizer(LayersConfig(optimizer="sgd", learning_rate=1.0, warmup_steps=2), steps=4)
    made.build([weight])
    path = []
    for _ in range(4):
        made.apply([keras.ops.convert_to_tensor(-1.0)], [weight])
        path.append(float(weight.numpy()))
    assert path == pytest.approx([0, 0.5, 1.5, 2.5])

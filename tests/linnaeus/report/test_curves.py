"""Training curves show what was noted at each step."""

from linnaeus.report.curves import curves

LOSSES = [
    {"step": 0, "train_loss": 2.0, "validation_loss": 1.0},
    {"step": 4, "train_loss": 1.0, "validation_loss": 1.5},
]


def test_a_chart_has_a_line_for_each_split():
    [chart] = curves(LOSSES)
    train, validation = chart.lines
    assert chart.quantity == "loss"
    assert (train.split, [dot.text for dot in train.dots]) == (
        "train",
        ["step 0, train: 2", "step 4, train: 1"],
    )
    assert train.dots[0].x < train.dots[1].x
    assert train.dots[0].y < validation.dots[1].y < train.dots[1].y  # up is less, in a drawing
    assert (
        train.points == f"{train.dots[0].x},{train.dots[0].y} {train.dots[1].x},{train.dots[1].y}"
    )


def test_accuracy_has_a_chart_where_it_was_noted():
    noted = [{**point, "train_accuracy": None, "validation_accuracy": 0.5} for point in LOSSES]
    _, accuracy = curves(noted)
    assert accuracy.quantity == "accuracy"
    assert [line.split for line in accuracy.lines] == ["validation"]


def test_a_loss_without_a_number_is_left_out():
    [chart] = curves([*LOSSES, {"step": 9, "train_loss": float("nan"), "validation_loss": 1.0}])
    assert [len(line.dots) for line in chart.lines] == [2, 3]


def test_one_step_is_no_curve():
    assert curves(LOSSES[:1]) == []
    assert curves([]) == []

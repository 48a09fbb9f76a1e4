import io

import pytest
from rich.console import Console

from benchmarks import report
from benchmarks.report import GOALS, Goal

ROUNDS = [
    report.with_limits(readings)
    for readings in (
        {"decoder": 600, "engine-float32": 300, "inner-float32": 190, "keras": 50, "again": 4},
        {"decoder": 300, "engine-float32": 150, "inner-float32": 99, "keras": 30},
        {"decoder": 600, "engine-float32": 300, "inner-float32": 196, "keras": 70},
    )
]


def shown(rounds):
    console = Console(file=io.StringIO(), width=160)
    report.show(rounds, console)
    return console.file.getvalue()


def test_the_limit_is_what_two_stages_reach_on_the_same_processors():
    seconds_an_image = 1 / 600 + 1 / 300
    assert ROUNDS[0]["limit-float32"] == pytest.approx(1 / seconds_an_image)


def test_a_limit_is_left_out_where_a_part_of_it_was_not_measured():
    readings = {"decoder": 600.0, "engine-bfloat16": 400.0}
    assert report.with_limits(readings).keys() - readings.keys() == {"limit-bfloat16"}


def test_a_median_is_over_the_rounds_that_have_the_value():
    assert report.middle(ROUNDS, "inner-float32") == 190
    assert report.middle(ROUNDS, "again") == 4
    assert report.middle(ROUNDS, "job") is None


def test_a_ratio_is_taken_within_a_round_since_machines_change_their_speed():
    assert report.ratio(ROUNDS, "inner-float32", "keras") == pytest.approx(99 / 30)


def test_goals_that_were_not_measured_are_not_judged():
    judged = {goal.title: goal.met(value) for goal, value in report.judged(ROUNDS)}
    assert judged == {
        "inner function of the limit": True,
        "inner function against Keras, float32": True,
        "embedding again": False,
    }


def test_a_goal_bounds_from_below_or_from_above():
    low, high = Goal("", "x", 2.0, "s"), Goal("", "x", 2.0, "s", at_most=True)
    assert [low.met(v) for v in (1.9, 2.0, 2.1)] == [False, True, True]
    assert [high.met(v) for v in (1.9, 2.0, 2.1)] == [True, True, False]


def test_every_goal_is_about_rows_of_the_table():
    keys = {row.key for row in report.ROWS}
    assert {key for goal in GOALS for key in (goal.key, goal.over) if key} <= keys


def test_the_table_shows_shares_of_the_limit_and_ratios_to_the_baselines():
    line = next(line for line in shown(ROUNDS).splitlines() if "embed_objects, float32" in line)
    assert all(text in line for text in ("190", "99 - 196", "98.0%", "3.30"))


def test_the_file_keeps_every_round_and_the_facts():
    saved = report.as_json(ROUNDS, {"processor": "a"})
    assert (saved["rounds"], saved["processor"]) == (ROUNDS, "a")
    assert [goal["met"] for goal in saved["goals"]] == [True, True, False]

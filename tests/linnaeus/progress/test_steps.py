from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from linnaeus.progress import (
    SILENT,
    Figures,
    Meter,
    bytes_text,
    duration_text,
    for_stream,
    settings_text,
)
from linnaeus.progress.bar import RichProgress
from linnaeus.progress.steps import JsonProgress, PlainProgress
from linnaeus.progress.wording import rate_text


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_meter_says_count_rate_and_time_left():
    clock = Clock()
    meter = Meter("Embed", 2624, "images", clock)
    clock.seconds += 8
    meter.update(done=656, failed=2)
    assert meter.underway() == "Embed: 656 of 2,624 images, 2 failed, 82.0 images/s, 24 s left"
    clock.seconds += 24
    meter.update(done=2624, failed=2)
    assert meter.finished() == "Embed: 2,624 images in 32 s, 2 failed, 82.0 images/s"


def test_a_step_that_may_end_early_says_what_is_left_at_most():
    clock = Clock()
    meter = Meter("Fine-tune", 20, "epochs at most", clock)
    clock.seconds += 8
    meter.update(done=4)
    assert meter.underway() == "Fine-tune: 4 of 20 epochs at most, 0.50 epochs/s, 32 s left at most"
    assert meter.stopped() == "Fine-tune: stopped after 4 epochs"


def test_a_meter_without_a_total_promises_no_end():
    clock = Clock()
    meter = Meter("List", None, "objects", clock)
    clock.seconds += 2
    meter.update(done=4000)
    assert meter.underway() == "List: 4,000 objects, 2,000 objects/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4 s"),
        (31.2, "31 s"),
        (59.6, "1 min 0 s"),
        (250, "4 min 10 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_read_like_speech(seconds: float, text: str):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(("rate", "text"), [(0.25, "0.25"), (84.31, "84.3"), (48200, "48,200")])
def test_rates_have_as_many_digits_as_a_person_reads(rate: float, text: str):
    assert rate_text(rate) == text


def test_settings_read_like_speech():
    assert settings_text({"hidden": (512, 64), "gamma": 0.1}) == "hidden 512 and 64, gamma 0.1"


def test_plain_lines_become_rarer_and_end_with_one():
    clock, stream = Clock(), io.StringIO()
    with PlainProgress(stream, clock).step("Embed", 1000) as step:
        for second in range(300):
            clock.seconds += 1
            step.update(done=second)
    lines = stream.getvalue().splitlines()
    assert 5 <= len(lines) <= 10
    assert lines[0].startswith("Embed: 4 of 1,000 images")
    assert lines[-1].startswith("Embed: 299 images in 5 min 0 s")


def test_a_quick_step_is_one_plain_line():
    stream = io.StringIO()
    with PlainProgress(stream).step("Embed", 10) as step:
        step.update(done=10)
        step.note("10 embedded, nothing failed")
    assert stream.getvalue() == "Embed: 10 embedded, nothing failed\n"


def test_a_step_that_breaks_says_how_far_it_came():
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), PlainProgress(stream).step("Embed", 10) as step:
        step.update(done=4)
        raise KeyboardInterrupt
    assert stream.getvalue() == "Embed: stopped after 4 images\n"


@pytest.mark.parametrize(
    ("rendering", "stream"), [(PlainProgress, io.StringIO()), (RichProgress, Terminal())]
)
def test_a_step_that_counts_nothing_leaves_its_failure_to_the_error(
    rendering: type[PlainProgress] | type[RichProgress], stream: io.StringIO
):
    with pytest.raises(OSError), rendering(stream).step("Export", None):
        raise OSError
    assert "images" not in stream.getvalue()
    assert "stopped" not in stream.getvalue()
    assert "/?" not in stream.getvalue()


def test_one_is_not_a_plural():
    clock = Clock()
    meter = Meter("Embed", 1, "images", clock)
    assert meter.underway() == "Embed: 0 of 1 image"
    clock.seconds += 1
    meter.update(done=1)
    assert meter.finished() == "Embed: 1 image in 1.0 s, 1.00 images/s"


def test_json_events_are_lines_that_parse():
    clock, stream = Clock(), io.StringIO()
    with JsonProgress(stream, clock).step("Embed", 10) as step:
        clock.seconds += 6
        step.update(done=4, failed=1)
        step.note("note")
    progress, done = map(json.loads, stream.getvalue().splitlines())
    assert (progress["event"], progress["done"], progress["failed"]) == ("progress", 4, 1)
    assert (done["event"], done["step"], done["total"], done["note"]) == (
        "done",
        "Embed",
        10,
        "note",
    )


def test_a_bar_shows_the_rate_and_gives_way_to_one_line():
    stream = Terminal()
    with RichProgress(stream).step("Embed", 10) as step:
        step.update(done=4, failed=1)
        step.note("[all] done")
    assert "10" in stream.getvalue()
    assert "1 failed" in stream.getvalue()
    assert "Embed: [all] done" in stream.getvalue().splitlines()[-1]


@pytest.mark.parametrize(
    ("stream", "as_json", "kind"),
    [
        (Terminal(), False, RichProgress),
        (io.StringIO(), False, PlainProgress),
        (Terminal(), True, JsonProgress),
    ],
)
def test_the_stream_decides_the_rendering(stream: io.StringIO, as_json: bool, kind: type):
    assert isinstance(for_stream(stream, as_json=as_json), kind)


def test_silence_is_silent(capfd: pytest.CaptureFixture[str]):
    with SILENT.step("Embed", 10) as step:
        step.update(done=10)
    assert capfd.readouterr() == ("", "")


def test_rich_is_not_imported_before_a_bar_is_drawn():
    code = "import sys, linnaeus.progress.steps; print('rich' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert answer.stdout == "False\n"


FIGURES = Figures(units_per_second=50.0, seconds_left=12.0, bytes_read=1_234_000, cache_hits=7)


def test_what_a_job_knows_better_replaces_the_meters_own_rate():
    clock = Clock()
    meter = Meter("Embed", 1000, "images", clock)
    clock.seconds += 1000
    meter.update(400, 3, FIGURES)
    assert meter.underway() == (
        "Embed: 400 of 1,000 images, 3 failed, 50.0 images/s, 12 s left, 1.2 MB read, 7 from cache"
    )


def test_a_bar_shows_failures_rate_time_left_bytes_and_cache_hits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "140")
    stream = Terminal()
    with RichProgress(stream).step("Embed", 1000) as step:
        step.update(400, 3, FIGURES)
        step.warn("[01R] stalled")
    assert "3 failed, 50.0 images/s, 12 s left, 1.2 MB read, 7 from cache" in stream.getvalue()
    assert "[01R] stalled" in stream.getvalue()


def test_json_events_have_the_jobs_own_figures():
    clock, stream = Clock(), io.StringIO()
    with JsonProgress(stream, clock).step("Embed", 1000) as step:
        clock.seconds += 6
        step.update(400, 3, FIGURES)
        step.warn("stalled")
    progress, warning, _ = map(json.loads, stream.getvalue().splitlines())
    assert (progress["units_per_second"], progress["seconds_left"]) == (50.0, 12.0)
    assert (progress["bytes_read"], progress["cache_hits"]) == (1_234_000, 7)
    assert warning == {"event": "warning", "message": "stalled"}


def test_a_warning_is_a_plain_line_at_once():
    stream = io.StringIO()
    with PlainProgress(stream).step("Embed", 10) as step:
        step.warn("01R stalled")
        assert stream.getvalue() == "01R stalled\n"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_600, "1.0 MB"), (12_300_000_000, "12 GB")],
)
def test_bytes_are_told_in_decimal_units(count: int, text: str):
    assert bytes_text(count) == text

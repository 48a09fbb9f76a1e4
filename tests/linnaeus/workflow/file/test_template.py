"""New workflow files: what is written is read back, whatever is uncommented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linnaeus.errors import ConfigurationError
from linnaeus.workflow.file.config import Workflow
from linnaeus.workflow.file.loading import read_workflow
from linnaeus.workflow.file.settings import Setting, all_settings
from linnaeus.workflow.file.template import text_of

CHOSEN = {"workspace": "s3://bucket/w", "images.location": "s3://bucket/photos"}
SMALLEST = Workflow.model_validate(
    {"workspace": "s3://bucket/w", "images": {"location": "s3://bucket/photos"}}
)
OPTIONAL = [one for one in all_settings() if not one.required]


def read(folder: Path, text: str) -> Workflow:
    path = folder / "workflow.toml"
    path.write_text(text)
    return read_workflow(path)


def value_of(workflow: Workflow, setting: Setting) -> object:
    section = getattr(workflow, setting.section) if setting.section else workflow
    value = getattr(section, setting.name)
    return list(value) if isinstance(value, tuple) else value


def uncommented(text: str, setting: Setting) -> str:
    """The file with that one setting counting."""
    lines, section = text.split("\n"), ""
    for number, line in enumerate(lines):
        section = line.strip("[]") if line.startswith("[") else section
        if section == setting.section and line.startswith(f"#{setting.name} = "):
            return "\n".join([*lines[:number], line[1:], *lines[number + 1 :]])
    raise AssertionError(f"{setting.path} is not commented out")


def test_a_new_file_says_what_was_chosen_and_else_the_defaults(tmp_path):
    assert read(tmp_path, text_of(CHOSEN)) == SMALLEST


@pytest.mark.parametrize("setting", OPTIONAL, ids=lambda one: one.path)
def test_each_setting_counts_when_uncommented(tmp_path, setting):
    workflow = read(tmp_path, uncommented(text_of(CHOSEN), setting))
    assert value_of(workflow, setting) == setting.shown
    others = [one for one in all_settings() if one != setting]
    assert all(value_of(workflow, one) == value_of(SMALLEST, one) for one in others)


def test_all_settings_count_together_when_uncommented(tmp_path):
    text = re.sub(r"(?m)^#(?=[a-z_]+ = )", "", text_of(CHOSEN))
    workflow = read(tmp_path, text)
    assert all(value_of(workflow, one) == one.shown for one in OPTIONAL)


def test_a_file_of_examples_is_written_where_nothing_is_chosen(tmp_path):
    assert read(tmp_path, text_of({})).images.location == "s3://bucket/photos"


def test_lines_are_short_and_end_cleanly():
    text = text_of(CHOSEN)
    assert all(len(line) <= 100 and line == line.rstrip() for line in text.split("\n"))
    assert text.endswith("\n") and not text.endswith("\n\n")


@pytest.mark.parametrize("odd", ['a"b', "a\\b", "ä ö\t", "a\nb", "#x", "a\x7fb", "[z]"])
def test_odd_texts_are_written_so_that_they_are_read_back(tmp_path, odd):
    chosen = {**CHOSEN, "labels.location": f"s3://bucket/{odd}"}
    assert read(tmp_path, text_of(chosen)).labels.location == f"s3://bucket/{odd}"


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path, data):
    text = re.sub(r"(?m)^#(?=[a-z_]+ = )", "", text_of(CHOSEN))
    text = re.sub(r"(?m)^# .*\n", "", text)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text) - 1))
        put = data.draw(
            st.sampled_from(['"', "'", "[", "]", "{", "}", "=", "\n", ".", "a", "1", "#"])
        )
        text = text[:at] + put + text[at + data.draw(st.integers(0, 2)) :]
    try:
        read(tmp_path, text)
    except ConfigurationError as error:
        assert re.fullmatch(r".*workflow\.toml:\d+: .+", str(error))
        line = int(str(error).split(":")[1])
        assert 1 <= line <= text.count("\n") + 1

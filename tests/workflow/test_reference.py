"""The page about the workflow file says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from linnaeus.errors import ConfigurationError
from workflow.reading import parse_workflow
from workflow.reference import with_tables

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "workflow-file.md"
TEXT = PAGE.read_text("utf-8")
MISTAKES = re.findall(r"(?m)^\| `(\[\w+\])` \| `(.+?)` \| (.+) \|$", TEXT)


def test_the_tables_are_those_of_the_settings():
    assert with_tables(TEXT) == TEXT, f"run python -m workflow.reference {PAGE}"


def test_the_smallest_file_is_one(tmp_path):
    [text] = re.findall(r"(?s)```toml\n(.+?)```", TEXT)
    assert parse_workflow(f"{tmp_path}/w.toml", text).images.location == "s3://bucket/photos"


@pytest.mark.parametrize(("section", "line", "said"), MISTAKES)
def test_mistakes_are_answered_as_the_page_says(tmp_path, section, line, said):
    text = f'workspace = "w"\n[images]\nlocation = "photos"\n\n{section}\n{line}\n'
    with pytest.raises(ConfigurationError) as raised:
        parse_workflow(f"{tmp_path}/w.toml", text)
    assert str(raised.value) == f"{tmp_path}/w.toml:6: {said}"


def test_the_page_has_mistakes():
    assert len(MISTAKES) > 5

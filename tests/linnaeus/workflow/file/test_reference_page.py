"""The page about the workflow file says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from linnaeus.errors import ConfigurationError
from linnaeus.workflow.file.loading import parse_workflow, read_workflow
from linnaeus.workflow.file.reference_page import with_tables

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "workflow-file.md"
TEXT = PAGE.read_text("utf-8")
MISTAKES = re.findall(r"(?m)^\| `(\[\w+\])` \| `(.+?)` \| (.+) \|$", TEXT)


def test_the_tables_are_those_of_the_settings():
    assert with_tables(TEXT) == TEXT, f"run python -m linnaeus.workflow.file.reference_page {PAGE}"


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


ROOT = PAGE.parents[2]
FILES = sorted(ROOT.glob("infra/**/nightly.toml"))
BLOCKS = [
    (page.name, text)
    for page in sorted(PAGE.parent.glob("*.md"))
    for text in re.findall(r"(?ms)^```toml\n(.+?)^```", page.read_text("utf-8"))
    if "workspace =" in text and "[images]" in text
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_workflow_files_of_the_platforms_are_right(path):
    assert read_workflow(path).workspace


@pytest.mark.parametrize(("page", "text"), BLOCKS)
def test_workflow_files_in_pages_are_right(tmp_path, page, text):
    assert parse_workflow(f"{tmp_path}/{page}", text).workspace

"""The pages say what the source says: tables, command line, Python API, formats of pictures."""

import re
from pathlib import Path

import pyarrow as pa
import pytest
import typer.cli
from typer.testing import CliRunner

from docs import backbones, columns
from linnaeus import records
from linnaeus.images import FORMATS, Format

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
REMEDY = "run make docs"
TABLES = columns.PAGE.read_text("utf-8")


def test_tables_have_the_columns_of_their_schemas():
    assert columns.with_columns(TABLES) == TABLES, REMEDY


def test_every_column_has_a_meaning():
    rows = re.findall(r"^\| `(\w+)` \| .+? \|(.*)\|$", TABLES, re.MULTILINE)
    assert len(rows) > 50
    assert [name for name, meaning in rows if not meaning.strip()] == []


def test_every_stored_schema_has_its_table():
    schemas = {name for name, value in vars(records).items() if isinstance(value, pa.Schema)}
    assert set(re.findall(r"<!-- columns: (\w+) -->", TABLES)) == schemas - {"LISTING"}


def test_a_new_column_is_added_without_a_meaning_and_an_old_one_keeps_its_own(
    monkeypatch: pytest.MonkeyPatch,
):
    schema = pa.schema([("new", pa.int8()), ("kept", pa.string())])
    monkeypatch.setattr(records, "OBJECTS", schema)
    page = "<!-- columns: OBJECTS -->\n| `gone` | int8 | its |\n| `kept` | int8 | own |\n\nText\n"
    rows = columns.with_columns(page).splitlines()[3:]
    assert rows == ["| `new` | int8 | |", "| `kept` | string | own |", "", "Text"]


def test_every_family_of_backbones_is_told():
    assert backbones.PAGE.read_text("utf-8") == backbones.page(), REMEDY


def test_the_command_line_is_the_programs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LINNAEUS_WORKSPACE", raising=False)
    words = ["linnaeus.cli.app", "utils", "docs", "--name", "linnaeus"]
    written = CliRunner().invoke(typer.cli.app, [*words, "--title", "The command line"])
    assert written.exit_code == 0
    assert (FOLDER / "command-line.md").read_text("utf-8").strip() == written.stdout.strip(), REMEDY


def test_the_formats_of_pictures_are_those_of_their_table():
    page = (FOLDER.parent / "how-to" / "own-images.md").read_text("utf-8")
    assert "".join(format_row(one) for one in FORMATS if one.file_class) in page
    refused = ", ".join(one.name for one in FORMATS if not one.file_class)
    assert f"\nKnown and refused: {refused}.\n" in page


def format_row(one: Format) -> str:
    suffixes = " ".join(f"`{suffix}`" for suffix in one.suffixes)
    exported = f"yes, unless it is one{one.but}" if one.but else "yes"
    return f"| {one.name} | {suffixes} | {exported if one.exported else 'no'} |\n"

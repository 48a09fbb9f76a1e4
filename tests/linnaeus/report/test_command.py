"""`linnaeus report RUN` writes the page and prints where it is."""

import json
import webbrowser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from linnaeus.cli import status as command
from linnaeus.cli.app import app
from linnaeus.storage import Folder
from tests.linnaeus.report.finished_runs import Pictures, write_training


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would be opened in a browser."""
    seen: list[str] = []
    monkeypatch.setattr(webbrowser, "open", seen.append)
    return seen


@pytest.fixture
def run(things: Pictures, workspace: Folder):
    write_training(workspace, things)

    def invoke(*arguments: str):
        return CliRunner().invoke(app, ["report", *arguments, "--workspace", workspace.uri])

    return invoke


def test_prints_where_the_page_is_and_opens_nothing_without_a_terminal(run, opened: list[str]):
    done = run("things")
    assert done.exit_code == 0
    assert Path(done.stdout.strip()).read_text().startswith("<!doctype html>")
    assert opened == []


def test_opens_the_page_for_somebody_who_looks(run, opened: list[str], tmp_path: Path, monkeypatch):
    monkeypatch.setattr(command, "_somebody_looks", lambda session: True)
    page = tmp_path / "a page.html"
    assert run("things", "--output", str(page)).exit_code == 0
    assert opened == [page.as_uri()]
    assert run("things", "--no-open").exit_code == 0
    assert len(opened) == 1


def test_says_it_in_json(run):
    assert json.loads(run("things", "--json").stdout)["report"].endswith("/report.html")


def test_an_unknown_run_is_wrong_usage(run):
    done = run("nothing")
    assert done.exit_code == 2
    assert "no run and no model 'nothing'" in done.stderr

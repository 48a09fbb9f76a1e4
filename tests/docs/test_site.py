"""The site of `make docs`: links that lead somewhere, the Python API, nothing from outside."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from linnaeus import errors, workspace
from tests.linnaeus.report.conftest import browser  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from selenium import webdriver

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGES = ("README", "docs/how-to/workflow-file", "docs/reference/python", "docs/reference/tables")
WIDTHS = {"phone": 360, "desk": 1280}


def build(source: Path, site: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    strict = ("--quiet", "--fail-on-warning", "--keep-going")
    command = [sys.executable, "-m", "sphinx", *strict, "-c", ROOT / "docs", *settings]
    return subprocess.run([*command, source, site], check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT, folder)
    assert (built.returncode, built.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def documented(site: Path) -> set[str]:
    """Full names of what the site describes."""
    from sphinx.util.inventory import InventoryFile

    objects = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    return {name for kind in objects.data.values() for name in kind}


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path):
    links = ["no-page.md", "page.md#no-heading", "#no-heading", "no/file.py"]
    text = "\n\n".join(f"[a link]({link})" for link in links)
    (tmp_path / "page.md").write_text(f"# Title\n\n{text}\n")
    built = build(tmp_path, tmp_path / "site", "-D", "root_doc=page")
    assert built.returncode == 1
    places = [f"page.md:{line}: WARNING" for line in (3, 5, 7, 9)]
    assert [place for place in places if place not in built.stderr] == []


def test_every_public_name_is_in_the_python_reference(documented: set[str]):
    front_door = {f"linnaeus.Workspace.{name}" for name in vars(workspace.Workspace)}
    returned = {f"linnaeus.workspace.{name}" for name in workspace.__all__}
    raised = {f"linnaeus.errors.{name}" for name in vars(errors) if name.endswith("Error")}
    public = {name for name in front_door | returned | raised if "._" not in name}
    assert public - {"linnaeus.workspace.Workspace"} <= documented


def test_what_a_call_returns_is_described(documented: set[str]):
    described = {name.rpartition(".")[2] for name in documented}
    calls = [v for n, v in vars(workspace.Workspace).items() if not n.startswith("_")]
    returns = " ".join(str(inspect.signature(call).return_annotation) for call in calls)
    assert set(re.findall(r"\b[A-Z]\w+", returns)) - {"Any", "Iterator"} <= described


def test_pages_take_nothing_from_elsewhere(site: Path):
    fetched = re.compile(r"<(?:script|img|iframe)[^>]*src=\"\w+:|<link[^>]*href=\"\w+:")
    styled = re.compile(r"@import|url\([\"']?(?:https?:)?//")
    files = {"*.html": fetched, "*.css": styled}
    assert [
        path
        for kind, foreign in files.items()
        for path in site.rglob(kind)
        if foreign.search(path.read_text())
    ] == []


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_browser_shows_a_page_without_errors_as_wide_as_itself(
    site: Path,
    browser: webdriver.Chrome,  # noqa: F811
    page: str,
    width: str,
):
    metrics = {"width": WIDTHS[width], "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get((site / f"{page}.html").as_uri())
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= WIDTHS[width]

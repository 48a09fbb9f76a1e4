"""Pictures that a model judged, in a workspace; and a real browser to look at pages with."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests import pictures
from tests.linnaeus.report.finished_runs import Pictures

if TYPE_CHECKING:
    from selenium import webdriver

LABELS = ["bird", "cat", "dog"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
LONGEST_SECONDS = 60


@pytest.fixture
def things(tmp_path: Path) -> Pictures:
    """Sixty real pictures of three labels, of which some are judged wrong."""
    return judged_pictures(tmp_path / "things", LABELS, 60)


def judged_pictures(folder: Path, labels: list[str], count: int) -> Pictures:
    """JPEGs in a folder for each label, named in the order of their labels."""
    random = np.random.default_rng(5)
    true = np.arange(count) % len(labels)
    uris = [str(folder / labels[label] / f"{n:03}.jpg") for n, label in enumerate(true)]
    for n, uri in enumerate(uris):
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
        Path(uri).write_bytes(pictures.jpeg(seed=n))
    logits = 2 * np.eye(len(labels))[true] + random.normal(0, 1.2, (count, len(labels)))
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    embeddings = np.eye(len(labels), 12)[true] + random.normal(0, 0.3, (count, 12))
    return Pictures(uris, [[labels[label]] for label in true], labels, scores, embeddings)


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    """Headless Chromium with a fresh profile, ended with its driver."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if not program or not driver:
        missing = "pages are tested in a browser: install chromium and chromium-driver"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = program
    with ExitStack() as stack:
        profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        options.add_argument(f"--user-data-dir={stack.enter_context(profile)}")
        for switch in SWITCHES:
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        found = webdriver.Chrome(options=options, service=Service(driver))
        stack.callback(found.quit)
        found.set_page_load_timeout(LONGEST_SECONDS)
        found.set_script_timeout(LONGEST_SECONDS)
        yield found

"""From a run's files to its page, and the page to where it is looked at."""

import posixpath

from linnaeus import layout
from linnaeus.report import scoring_page, training_page
from linnaeus.report.finished import FinishedRun, find
from linnaeus.storage import Folder, normalise, parent


def build(workspace: Folder, run: str) -> str:
    """The page of a training or scoring run: HTML that needs no other file.

    Args:
        workspace: where the run is.
        run: its id, or `NAME` or `NAME:VERSION` of the model that a training run made.

    Raises:
        ConfigurationError: there is no such run, or nothing of it to look at.
        StorageError: the workspace cannot be read.
    """
    return _page(workspace, find(workspace, run))


def save(workspace: Folder, run: str, output: str | None = None) -> str:
    """Write the page to a file, by default `report.html` in the run's folder.

    Returns:
        Where it is.
    """
    finished = find(workspace, run)
    key = layout.report(finished.run_id)
    uri = normalise(output) if output else workspace.uri_of(key)
    page = _page(workspace, finished)
    Folder(parent(uri)).write(posixpath.basename(uri), page.encode())
    return uri


def _page(workspace: Folder, run: FinishedRun) -> str:
    pages = {"train": training_page.page, "score": scoring_page.page}
    return pages[run.job](workspace, run)

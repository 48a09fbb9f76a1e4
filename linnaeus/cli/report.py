"""The page to look at."""

import os
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from linnaeus.cli.session import Session


def report(
    session: Session,
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A training or scoring run, or NAME[:VERSION] for the run that made the model.",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", show_default="report.html in the run's folder", help="The page's file."
        ),
    ] = None,
    open_it: Annotated[
        bool, typer.Option("--open/--no-open", help="Open it in the browser, on a terminal.")
    ] = True,
) -> None:
    """Make a run's page: its figures, its pictures, its mistakes; and open it."""
    uri = session.workspace.report(run, output)
    session.show({"report": uri}, uri)
    if open_it and _somebody_looks(session):
        webbrowser.open(_local_copy(uri).as_uri())


def _somebody_looks(session: Session) -> bool:
    return sys.stdout.isatty() and not session.as_json and not os.environ.get("CI")


def _local_copy(uri: str) -> Path:
    """The file itself, or a copy of a remote one, which no browser opens."""
    from linnaeus.leaving import share_temporary_files
    from linnaeus.storage import is_local, read_object

    if is_local(uri):
        return Path(uri)
    share_temporary_files()
    copy = Path(tempfile.mkdtemp(prefix="linnaeus-report-")) / "report.html"
    copy.write_bytes(read_object(uri, None))
    return copy

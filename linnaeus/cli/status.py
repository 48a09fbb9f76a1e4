"""What a workspace holds, how its runs go, and their pages to look at."""

import os
import sys
import tempfile
import webbrowser
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from linnaeus.cli.session import FAILED, INTERRUPTED, Session
from linnaeus.cli.wording import facts_text, run_details_text, run_facts, run_status_text
from linnaeus.errors import ConfigurationError

if TYPE_CHECKING:
    from linnaeus.status import RunStatus


def status(
    session: Session,
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="One run, and what failed in it.")
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Follow RUN, or the newest unfinished run, until it is committed."
        ),
    ] = False,
    failures: Annotated[
        int, typer.Option(min=0, help="Show at most so many failures of RUN.")
    ] = 10,
) -> None:
    """Show the workspace's tables, models and runs; or one run; or follow it as it goes."""
    if watch:
        _watch(session, run)
    elif run:
        details = session.workspace.run(run, failures)
        session.show(run_facts(details), run_details_text(details))
    else:
        facts = session.workspace.status()
        session.show(facts, facts_text(facts))


def _watch(session: Session, run: str | None) -> None:
    """Exit status 0 when the run is committed, 1 when its launcher stopped, 130 after Ctrl-C."""
    from linnaeus.status import RunState

    run_id = run or next(iter(session.workspace.unfinished()), None)
    if run_id is None:
        raise ConfigurationError(
            f"no run of {session.workspace_uri} is under way: name one that is finished, or begin "
            "one by `linnaeus embed` or `linnaeus score`"
        )
    status = _shown(session, run_id)
    if status is None:
        raise typer.Exit(INTERRUPTED)
    session.show(run_facts(status.progress), run_status_text(status))
    if status.progress.state is RunState.STOPPED:
        raise typer.Exit(FAILED)


def _shown(session: Session, run_id: str) -> "RunStatus | None":
    """Show a run until its end, and return how it ended; None where somebody has seen enough."""
    statuses = session.workspace.watch(run_id)
    first = last = next(statuses)
    with session.progress.step(first.progress.job.capitalize(), first.progress.objects) as step:
        warned = False
        try:
            for last in chain([first], statuses):
                seen = last.progress
                step.update(seen.finished, seen.failed, seen.figures)
                if last.trouble and not warned:
                    step.warn(f"{run_id} {last.trouble}")
                warned = last.trouble is not None
        except KeyboardInterrupt:
            step.note(f"{run_id} goes on")
            return None
        step.note(f"{run_id} {last.progress.state}")
    return last


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
    from linnaeus.process import share_temporary_files
    from linnaeus.storage import is_local, read_object

    if is_local(uri):
        return Path(uri)
    share_temporary_files()
    copy = Path(tempfile.mkdtemp(prefix="linnaeus-report-")) / "report.html"
    copy.write_bytes(read_object(uri, None))
    return copy

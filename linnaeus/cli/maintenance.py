"""Tidying a workspace: compact its tables, and vacuum what nothing needs any more."""

from dataclasses import asdict
from typing import Annotated

import typer

from linnaeus.cli.session import Session
from linnaeus.cli.wording import compactions_text, vacuum_text


def compact(session: Session) -> None:
    """Merge the many small parts of tables into few large ones; rows stay as they are."""
    done = session.workspace.compact()
    session.show([asdict(one) for one in done], compactions_text(done))


def forget(
    session: Session, source: Annotated[str, typer.Argument(help="As it was named once.")]
) -> None:
    """Take the labels of images that are gone for good away; what was computed of them stays."""
    gone = session.workspace.forget(source)
    labels = ", ".join(f"{count:,} of {model}" for model, count in gone.items() if count)
    session.show(gone, f"{source} is forgotten; labels that went: {labels or 'none'}")


def vacuum(
    session: Session,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be deleted.")
    ] = False,
    retention_days: Annotated[
        float,
        typer.Option(
            min=0,
            help="Keep replaced parts for so long: whoever reads an older snapshot of a table, "
            "such as a training that began before, loses it.",
        ),
    ] = 7.0,
) -> None:
    """Delete replaced parts, leftovers of runs, and runs that nobody carried on for seven days."""
    done = session.workspace.vacuum(dry_run=dry_run, retention_days=retention_days)
    session.show(done, vacuum_text(done))

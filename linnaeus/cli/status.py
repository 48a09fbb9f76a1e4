"""What a workspace holds."""

from __future__ import annotations

from linnaeus.cli.session import Session
from linnaeus.cli.wording import facts_text


def status(session: Session) -> None:
    """Show the workspace's tables, models and runs."""
    facts = session.workspace.status()
    session.show(facts, facts_text(facts))

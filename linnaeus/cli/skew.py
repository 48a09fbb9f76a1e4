"""Holding a server's answers about a model's golden images against this machine's."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from linnaeus.cli.options import ModelVersion
from linnaeus.cli.session import FAILED, Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving.client.skew import Comparison


def skew(
    session: Session,
    model: ModelVersion,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="The server to ask; by default one is started for it."
        ),
    ] = None,
) -> None:
    """Compare a server with this machine: every golden image, every way of sending it."""
    compared = session.workspace.skew(model, server=server)
    rows = [{**asdict(one), "passes": one.passes} for one in compared]
    session.show(rows, _text(compared))
    if failed := sum(not one.passes for one in compared):
        session.fail(
            f"{failed} of {len(compared)} comparisons are beyond what is allowed; serve the "
            "version as it was exported, with the release that trained it",
            FAILED,
            "Skew",
        )


def _text(compared: Sequence[Comparison]) -> str:
    width = max(len(one.image) for one in compared)
    what = max(len(one.what) for one in compared)
    return "\n".join(
        f"{one.payload:<9}  {one.image:<{width}}  {one.what:<{what}}  {one.difference:8.1e}"
        f"  {'ok' if one.passes else f'beyond {one.bound:.1e}'}"
        for one in compared
    )

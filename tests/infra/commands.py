"""Command lines of files of infra/, given to the real command line without being done."""

from collections.abc import Sequence
from typing import Any

from typer.main import get_command


def parsed(arguments: Sequence[str]) -> dict[str, Any]:
    """What a command of `linnaeus` would be called with; wrong usage raises."""
    from linnaeus.cli.app import app

    group: Any = get_command(app)
    name, *rest = arguments
    parameters: dict[str, Any] = group.commands[name].make_context(name, rest).params
    return parameters

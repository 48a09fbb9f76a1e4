"""What every command shares: its three common options, its output, its exit status.

A command is a function whose first parameter is a `Session`. `register` puts `--workspace`,
`--json` and `--debug` in its place.
"""

import functools
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from linnaeus.errors import ConfigurationError
from linnaeus.plain_text import one_line, plain_json, plain_lines
from linnaeus.process import refuse_hidden_packages
from linnaeus.progress import Progress, for_stream

if TYPE_CHECKING:
    from linnaeus.workspace import Workspace

FAILED = 1
WRONG_USAGE = 2
TOO_MANY_FAILURES = 3
INTERRUPTED = 130

Command = Callable[..., None]


@dataclass(frozen=True)
class Session:
    """One command's surroundings."""

    workspace_uri: str
    as_json: bool = False
    debug: bool = False
    given: frozenset[str] = frozenset()
    """Parameters that the person wrote, whether or not with their defaults."""

    @property
    def progress(self) -> Progress:
        """Where the command's steps are shown."""
        return for_stream(sys.stderr, as_json=self.as_json)

    @property
    def workspace(self) -> "Workspace":
        """The workspace, whose jobs are imported only when they run."""
        from linnaeus.workspace import Workspace

        return Workspace(self.workspace_uri, progress=self.progress)

    def show(self, value: Any, text: str) -> None:
        """Print a result on standard output: `value` as JSON for machines, `text` for people."""
        if not self.as_json:
            typer.echo(plain_lines(text))
            return
        fields = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        typer.echo(plain_json(fields))

    def fail(self, message: str, status: int, kind: str = "error") -> NoReturn:
        """Say in one line on standard error what went wrong, and end with `status`."""
        if self.as_json:
            record = {"event": "error", "kind": kind, "message": message}
            typer.echo(plain_json(record), err=True)
        else:
            typer.echo(plain_lines(message), err=True)
        raise typer.Exit(status)

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Turn whatever the command raises into one line and an exit status."""
        try:
            yield
        except (typer.Exit, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if self.debug:
                traceback.print_exc()
            self.fail(_one_line(error), _status(error), type(error).__name__)


def register(app: typer.Typer, command: Command, *, names_workspace: bool = True) -> None:
    """Make `command(session, ...)` a command of `app`.

    One that does not name a workspace by an option learns of it from what it reads.
    """
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    common = list(inspect.signature(_common_options, eval_str=True).parameters.values())
    if not names_workspace:
        common = [option for option in common if option.name != "workspace"]

    @functools.wraps(command)
    def run(
        context: typer.Context, as_json: bool, debug: bool, workspace: str = "", **arguments: Any
    ) -> None:
        session = Session(workspace, as_json, debug, _given(context))
        with session.reporting():
            refuse_hidden_packages()
            command(session, **arguments)

    surroundings = inspect.Parameter(
        "context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context
    )
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *common)]
    parameters.append(surroundings)
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    app.command(command.__name__)(run)


def _given(context: typer.Context) -> frozenset[str]:
    sources = ((name, context.get_parameter_source(name)) for name in context.params)
    return frozenset(name for name, source in sources if source and source.name == "COMMANDLINE")


def _common_options(
    workspace: Annotated[
        str,
        typer.Option(
            envvar="LINNAEUS_WORKSPACE",
            help="Folder, s3://, gs:// or az:// root under which everything lies.",
            rich_help_panel="Everywhere",
        ),
    ] = "./workspace",
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Results and progress as JSON.", rich_help_panel="Everywhere"),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            help="Show tracebacks, and what the libraries say.",
            rich_help_panel="Everywhere",
        ),
    ] = False,
) -> None:
    """Carry the signature of the options that every command has."""


def _status(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return WRONG_USAGE if isinstance(error, ConfigurationError) else FAILED


def _one_line(error: Exception | KeyboardInterrupt) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted; the same command continues where it stopped."
    return one_line(error, "; --debug shows where")

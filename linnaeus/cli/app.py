"""All commands, in the order in which a person meets them."""

from typing import Annotated

import typer

from linnaeus.cli import demo, init, jobs, maintenance, models, status, training, workflow
from linnaeus.cli.session import register

app = typer.Typer(
    name="linnaeus",
    help="Label every image in a bucket.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

register(app, demo.demo)
register(app, init.init)
register(app, workflow.run, names_workspace=False)
register(app, jobs.manifest)
register(app, jobs.plan)
register(app, jobs.embed)
register(app, training.train)
register(app, models.evaluate)
register(app, models.tflite)
register(app, models.serve)
register(app, jobs.score)
register(app, models.skew)
register(app, jobs.preflight)
register(app, models.label)
register(app, jobs.commit)
register(app, jobs.retry)
register(app, maintenance.compact)
register(app, maintenance.vacuum)
register(app, maintenance.forget)
register(app, status.status)
register(app, status.report)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"linnaeus {version('linnaeus')}")
        raise typer.Exit


@app.callback()
def _program(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Label every image in a bucket."""

"""Beam's options, refused where Beam would pass over a slip in silence."""

from collections.abc import Mapping, Sequence
from typing import Any

from linnaeus.errors import ConfigurationError


def check_beam_options(arguments: Sequence[str]) -> None:
    """Refuse options that no part of Beam knows, and runners that there are not.

    Raises:
        ConfigurationError: the first such option.
    """
    if not arguments:
        return
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.options.pipeline_options import _BeamArgumentParser as Parser
    from apache_beam.runners.runner import create_runner

    from beam_pipelines.runners import resource_options  # noqa: F401 - its options count, too

    parser = Parser(allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        raise ConfigurationError(f"Beam has no option {unknown[0]}; see its pipeline options")
    runner = all_options(arguments)["runner"]
    try:
        create_runner(runner or "FnApiRunner")
    except (ValueError, ImportError) as error:
        raise ConfigurationError(f"Beam has no runner {runner}: {error}") from error


def has_option(arguments: Sequence[str], name: str) -> bool:
    """Whether an option is among arguments, as `--name` or `--name=value`."""
    return any(one.split("=", 1)[0] == f"--{name}" for one in arguments)


def all_options(arguments: Sequence[str]) -> dict[str, Any]:
    """Beam's options and ours by name, with their defaults."""
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_pipelines.runners import resource_options  # noqa: F401 - its options count, too

    options: dict[str, Any] = PipelineOptions(list(arguments)).get_all_options()
    return options


def with_defaults(arguments: Sequence[str], defaults: Mapping[str, str]) -> list[str]:
    """Arguments, and the options that they lack."""
    lacking = [name for name in defaults if not has_option(arguments, name)]
    return [*arguments, *(f"--{name}={defaults[name]}" for name in lacking)]


def runner_name(arguments: Sequence[str]) -> str:
    """The runner that options name, as `flink`, `dataflow` or `portable`; `fnapi` if they do not.

    Beam takes `FlinkRunner`, `flink` and a class's path alike.
    """
    named = (arguments and all_options(arguments)["runner"]) or "FnApiRunner"
    return str(named).rpartition(".")[2].lower().removesuffix("runner")


def launcher_leaves(arguments: Sequence[str]) -> bool:
    """Whether the launcher returns before the job is done, so that it cannot commit.

    A template only describes a job, a dry run does not even submit it.
    """
    options = all_options(arguments) if arguments else {}
    leaving = ("no_wait_until_finish", "template_location", "dry_run")
    return any(options.get(name) for name in leaving)

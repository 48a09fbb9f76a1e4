"""Beam's options, refused where Beam would pass over a slip in silence."""

from collections.abc import Sequence

from linnaeus.errors import ConfigurationError


def check_beam_options(arguments: Sequence[str]) -> None:
    """Refuse options that no part of Beam knows, and runners that there are not.

    Raises:
        ConfigurationError: the first such option.
    """
    if not arguments:
        return
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    from apache_beam.options.pipeline_options import _BeamArgumentParser as Parser
    from apache_beam.runners.runner import create_runner

    from beam_pipelines import resources  # noqa: F401 - its options count, too

    parser = Parser(allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        raise ConfigurationError(f"Beam has no option {unknown[0]}; see its pipeline options")
    runner = PipelineOptions(list(arguments)).view_as(StandardOptions).runner
    try:
        create_runner(runner or "FnApiRunner")
    except (ValueError, ImportError) as error:
        raise ConfigurationError(f"Beam has no runner {runner}: {error}") from error


def has_option(arguments: Sequence[str], name: str) -> bool:
    """Whether an option is among arguments, as `--name` or `--name=value`."""
    return any(one.split("=", 1)[0] == f"--{name}" for one in arguments)


def runner_name(arguments: Sequence[str]) -> str:
    """The runner that options name, as `flink`, `dataflow` or `portable`; `fnapi` if they do not.

    Beam takes `FlinkRunner`, `flink` and a class's path alike.
    """
    if not arguments:
        return "fnapi"
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

    named = PipelineOptions(list(arguments)).view_as(StandardOptions).runner or "FnApiRunner"
    return str(named).rpartition(".")[2].lower().removesuffix("runner")


def launcher_leaves(arguments: Sequence[str]) -> bool:
    """Whether the launcher returns before the job is done, so that it cannot commit.

    A template only describes a job, a dry run does not even submit it.
    """
    if not arguments:
        return False
    from apache_beam.options.pipeline_options import (
        GoogleCloudOptions,
        PipelineOptions,
        StandardOptions,
        TestOptions,
    )

    options = PipelineOptions(list(arguments))
    return bool(
        options.view_as(StandardOptions).no_wait_until_finish
        or options.view_as(GoogleCloudOptions).template_location
        or options.view_as(TestOptions).dry_run
    )

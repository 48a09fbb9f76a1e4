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

"""Options of ours among Beam's: what the machines that do shards must have."""

from argparse import ArgumentParser

from apache_beam.options.pipeline_options import PipelineOptions


class ResourceOptions(PipelineOptions):
    """They become hints of the one step that needs them, by which a runner chooses machines."""

    @classmethod
    def _add_argparse_args(cls, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--min_ram", help="Memory of a machine that does shards, such as 16GB (right fitting)."
        )
        parser.add_argument(
            "--accelerator",
            help="What a machine that does shards has besides processors, such as "
            "type:nvidia-l4;count:1;install-nvidia-driver (right fitting).",
        )


def shard_hints(options: PipelineOptions) -> dict[str, str]:
    """Resource hints, by name, for the step that does shards; empty where none are asked for."""
    asked = options.view_as(ResourceOptions)
    hints = {"min_ram": asked.min_ram, "accelerator": asked.accelerator}
    return {name: value for name, value in hints.items() if value}

"""What the programs of earlier systems share: their flags, inputs, outputs and log.

May import `training.data` and `training.exporting`, and what lies below `training`.
"""

__all__ = ["architectures", "flags", "inputs", "outputs", "programs"]

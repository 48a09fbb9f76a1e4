"""Trained models as the workspace holds them.

May import `backbones` and `tables`, and what lies below.
"""

from linnaeus.models.description import (
    DEFAULT_THRESHOLD,
    DESCRIPTION,
    Model,
    ModelBackbone,
    check_name,
    find_newest,
    load_model,
    model_prefix,
    names,
    parse_reference,
    version_prefix,
    versions,
)
from linnaeus.models.golden_images import (
    GOLDEN_INDEX,
    MOST_RELATIVE,
    GoldenImage,
    GoldenIndex,
    GoldenRecord,
    load,
    logarithms,
)

__all__ = [
    "DEFAULT_THRESHOLD",
    "DESCRIPTION",
    "GOLDEN_INDEX",
    "MOST_RELATIVE",
    "GoldenImage",
    "GoldenIndex",
    "GoldenRecord",
    "Model",
    "ModelBackbone",
    "check_name",
    "find_newest",
    "load",
    "load_model",
    "logarithms",
    "model_prefix",
    "names",
    "parse_reference",
    "version_prefix",
    "versions",
]

"""Families of backbones, a module each: where their weights come from, and their networks.

May import `backbones`, and what lies below it.
"""

import re
from importlib import import_module

from linnaeus.backbones import TENSORFLOW, BackboneName, Family, nearest
from linnaeus.errors import ConfigurationError

__all__ = ["check_exportable", "every", "fine_tuned", "parse"]

FAMILIES = [
    "linnaeus.backbones.families.efficientnet_lite:EfficientNetLite",
    "linnaeus.backbones.families.pixels:Pixels",
    "linnaeus.backbones.families.keras_applications:KerasApplication",
    "linnaeus.backbones.families.tensorflow_hub:HubModule",
    "linnaeus.backbones.families.fine_tuned:StoredTuned",
]
"""Every family, a line each; a name is of the first that can read it."""


def every() -> list[type[Family]]:
    """The families; none imports TensorFlow or Keras before it makes a network."""
    found = (family.split(":") for family in FAMILIES)
    return [getattr(import_module(module), name) for module, name in found]


def parse(text: str) -> BackboneName:
    """Take a backbone's name apart; a wrong one raises ConfigurationError naming the nearest."""
    families = every()
    for family in families:
        if name := family.parse(text):
            return name
    network = re.split("[@+?]", text)[0].rpartition(":")[2]
    near = nearest(network, [name for family in families for name in family.networks])
    places = " and ".join(family.others for family in families if family.others)
    raise ConfigurationError(
        f"There is no backbone {text!r}: did you mean {near}? Also possible are {places}."
    )


def check_exportable(name: str) -> None:
    """Raises ConfigurationError for a backbone on which no model can be trained and exported."""
    brought = parse(name).family.brings
    if TENSORFLOW not in brought:
        raise ConfigurationError(
            f"Backbone {name} has no SavedModel to export a model with, only files of "
            f"{' and '.join(brought)}: embed with it, or train on one such as efficientnet-lite0."
        )

"""How training pictures are varied at random: the settings, which need no library to be read."""

import math
from dataclasses import dataclass, field
from typing import Any

from linnaeus.errors import ConfigurationError


def setting(default: Any, text: str) -> Any:
    """A field of a configuration with its line of help."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied at random; all zero: not at all."""

    horizontal_flip: bool = setting(False, "Mirror half of the pictures left to right.")
    vertical_flip: bool = setting(False, "Mirror half of the pictures top to bottom.")
    rotation: float = setting(0.0, "Turn by up to this many degrees either way.")
    width_shift: float = setting(0.0, "Move sideways by up to this share of the width.")
    height_shift: float = setting(0.0, "Move up or down by up to this share of the height.")
    zoom: float = setting(0.0, "Scale by a factor from 1 - this to 1 + this.")
    random_crop: float = setting(0.0, "Percent of margin that is cropped away at random.")
    random_scale: float = setting(0.0, "Percent by which pictures grow at most before a crop.")
    random_brightness: float = setting(0.0, "Percent by which pixels are multiplied up or down.")

    @property
    def varies(self) -> bool:
        """Whether anything is varied at all."""
        return any(vars(self).values())

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, vars(self).values())):
            raise ConfigurationError("every distortion is a finite number")
        if min(vars(self).values()) < 0:
            raise ConfigurationError("no distortion is below 0")
        if self.zoom >= 1 or self.random_brightness >= 100 or self.rotation > 180:
            raise ConfigurationError(
                "zoom is below 1, random_brightness below 100 and rotation at most 180"
            )
        if max(self.width_shift, self.height_shift) > 1:
            raise ConfigurationError("shifts are shares of the picture: at most 1")

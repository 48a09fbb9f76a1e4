"""A family of backbones that brings OpenVINO's files alone: a picture's mean colour."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from linnaeus.backbones import Family, Saved
from linnaeus.process import import_openvino


@dataclass(frozen=True)
class MeanColour(Family):
    """Red, green and blue from 0 to 255, averaged over the picture."""

    key = "mean-colour"
    networks = ("mean-colour",)
    licence = "none needed"
    brings = ("openvino",)

    def identity(self) -> str:
        return "1"

    def save(self, to: Path) -> Saved:
        openvino = import_openvino()
        op, size = openvino.opset13, self.name.size or 8
        (to / "openvino").mkdir()
        pixels = op.parameter([-1, size, size, 3], np.uint8, name="pixels")
        means = op.reduce_mean(op.convert(pixels, "f32"), np.array([1, 2]))
        network = openvino.Model([means], [pixels])
        openvino.save_model(network, str(to / "openvino" / "model.xml"), compress_to_fp16=False)
        return Saved("", "mean-colour-1", "", size, size, 3, self.licence)

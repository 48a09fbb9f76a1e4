"""LiteRT (TensorFlow Lite): where OpenVINO has no build, and to check exported files."""

from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from linnaeus.backbones import BackboneSpec
from linnaeus.engines.batches import BatchEngine
from linnaeus.engines.engine import Tuning
from linnaeus.process import processors

BATCH_IMAGES = 8


def open_backbone(files: Path, spec: BackboneSpec, tuning: Tuning) -> "LiteRtEngine":
    """Load `litert/model.tflite` of a backbone's folder."""
    return LiteRtEngine(files / "litert" / "model.tflite", spec, tuning)


class LiteRtEngine(BatchEngine):
    """One interpreter, which threads take in turns; see `linnaeus.engines.Engine`."""

    name = "litert"

    def __init__(self, model: Path, spec: BackboneSpec, tuning: Tuning) -> None:
        from ai_edge_litert.interpreter import Interpreter

        super().__init__(spec, BATCH_IMAGES)
        self._turn = Lock()
        threads = tuning.threads or processors()
        self._interpreter = Interpreter(model_path=str(model), num_threads=threads)
        self._input: int = self._interpreter.get_input_details()[0]["index"]
        self._output: int = self._interpreter.get_output_details()[0]["index"]
        self._allocated_images = 0

    def close(self) -> None:
        """Free the network; the engine is not used again."""
        del self._interpreter

    def _network(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        with self._turn:
            self._allocate(len(batch))
            self._interpreter.set_tensor(self._input, batch)
            self._interpreter.invoke()
            rows: NDArray[np.float32] = self._interpreter.get_tensor(self._output)
        return rows

    def _allocate(self, images: int) -> None:
        if self._allocated_images != images:
            self._allocated_images = 0  # if this fails, the interpreter has no memory at all
            self._interpreter.resize_tensor_input(self._input, [images, *self._shape])
            self._interpreter.allocate_tensors()
            self._allocated_images = images

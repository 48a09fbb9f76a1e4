"""TensorFlow: the engine on a GPU, and where there is no other."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linnaeus.backbones import BackboneSpec
from linnaeus.engines.batches import BatchEngine
from linnaeus.engines.engine import Tuning
from linnaeus.signatures import EMBEDDING, SERVING_DEFAULT

GPU_BATCH_IMAGES = 32
CPU_BATCH_IMAGES = 8


def open_backbone(files: Path, spec: BackboneSpec, tuning: Tuning) -> "TensorFlowEngine":
    """Load the SavedModel in `tensorflow/` of a backbone's folder.

    TensorFlow's threads belong to the process, so `tuning` is not used.
    """
    del tuning
    return TensorFlowEngine(files / "tensorflow", spec)


class TensorFlowEngine(BatchEngine):
    """A SavedModel's signature `serving_default`; see `linnaeus.engines.Engine`."""

    name = "tensorflow"

    def __init__(self, saved_model: Path, spec: BackboneSpec) -> None:
        import tensorflow as tf

        super().__init__(spec, GPU_BATCH_IMAGES if _prepare_gpus(tf) else CPU_BATCH_IMAGES)
        self._to_tensor = tf.constant
        # The signature alone does not keep its variables alive.
        self._model: Any = tf.saved_model.load(str(saved_model))
        self._signature = self._model.signatures[SERVING_DEFAULT]

    def close(self) -> None:
        """Free the network; the engine is not used again."""
        del self._model, self._signature

    def _network(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = self._signature(pixels=self._to_tensor(batch))[
            EMBEDDING
        ].numpy()
        return rows


def _prepare_gpus(tf: Any) -> bool:
    """Whether there is a GPU; leaves its other memory to others, and computes in true float32."""
    gpus = tf.config.list_physical_devices("GPU")
    # Ten bits of mantissa would put the vectors outside the engines' common tolerance.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # TensorFlow has used the GPU already and cannot change that.
            break
    return bool(gpus)

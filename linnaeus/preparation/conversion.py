"""Turn a backbone's SavedModel into the files of the other engines, and check them against it."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from linnaeus.backbones import BackboneSpec
from linnaeus.engines import import_openvino, open_engine
from linnaeus.errors import ConfigurationError

TOLERANCE = 1e-3
"""How far a converted network may be off: the distance to TensorFlow's vector by its length."""
CHECKED_IMAGES = 2


def convert(saved_model: Path, spec: BackboneSpec, to: Path) -> dict[str, str]:
    """Write `openvino/` and, at float32, `litert/` below `to`; `to/tensorflow` is the SavedModel.

    A network that an engine cannot convert, or computes otherwise than TensorFlow does, leaves no
    files of that engine. Reduced precisions start from these float32 files.

    Args:
        saved_model: has signature `serving_default`, `pixels` uint8 `[N, H, W, 3]` to
            `embedding` float32 `[N, D]`.
        spec: the backbone's sizes and precision.
        to: the backbone's folder.

    Returns:
        Why an engine has no files, in one line, by engine; empty when all have theirs.
    """
    converters = {"openvino": _to_openvino, "litert": _to_litert}
    if spec.precision != "float32":
        del converters["litert"]
    exact = dataclasses.replace(spec, precision="float32")
    pixels = _noise(spec)
    expected = open_engine(saved_model.parent, exact, "tensorflow").embed(pixels)
    unavailable = {}
    for engine, converter in converters.items():
        problem = _try(converter, saved_model, to / engine) or _check(engine, to, exact, expected)
        if problem:
            shutil.rmtree(to / engine, ignore_errors=True)
            unavailable[engine] = problem
    return unavailable


def _try(converter: Callable[[Path, Path], None], saved_model: Path, to: Path) -> str | None:
    """What stopped the conversion, in one line; converters raise all kinds of exceptions."""
    to.mkdir(parents=True)
    try:
        converter(saved_model, to)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        return f"the network cannot be converted ({reason})"
    return None


def _to_openvino(saved_model: Path, to: Path) -> None:
    openvino = import_openvino()
    network = openvino.convert_model(str(saved_model))
    openvino.save_model(network, str(to / "model.xml"), compress_to_fp16=False)


def _to_litert(saved_model: Path, to: Path) -> None:
    import tensorflow as tf

    # Read from the folder, a Keras 3 network may keep variables that nothing initialises.
    loaded = tf.saved_model.load(str(saved_model))
    signature = loaded.signatures["serving_default"]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([signature], loaded)
    (to / "model.tflite").write_bytes(converter.convert())


def _noise(spec: BackboneSpec) -> NDArray[np.uint8]:
    shape = (CHECKED_IMAGES, spec.height, spec.width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _check(name: str, files: Path, spec: BackboneSpec, expected: NDArray[np.float32]) -> str | None:
    """Whether the engine computes what TensorFlow does; why not, in one line."""
    pixels = _noise(spec)
    try:
        engine = open_engine(files, spec, name)
    except ConfigurationError as error:
        return str(error)
    distance = relative_distance(expected, engine.embed(pixels))
    engine.close()
    if distance <= TOLERANCE:
        return None
    return f"its vectors differ from TensorFlow's by {distance:.1e} of their length"


def relative_distance(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """The largest row distance by the length of the expected row, `[N, D]` each."""
    lengths = np.linalg.norm(expected, axis=1)
    distances = np.linalg.norm(expected - found, axis=1)
    return float(np.max(distances / np.maximum(lengths, np.finfo(np.float32).tiny)))

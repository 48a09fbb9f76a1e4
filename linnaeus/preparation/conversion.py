"""Turn a backbone's SavedModel into the files of the other engines, and check all of them."""

import dataclasses
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from linnaeus.backbones import TENSORFLOW, BackboneSpec
from linnaeus.engines import open_engine
from linnaeus.errors import ConfigurationError
from linnaeus.process import import_openvino
from linnaeus.signatures import SERVING_DEFAULT

TOLERANCE = 1e-3
"""How far a converted network may be off: the distance to TensorFlow's vector by its length."""
CHECKED_IMAGES = 2
NOT_BROUGHT = "no SavedModel is brought"


def convert(files: Path, spec: BackboneSpec) -> dict[str, str]:
    """Write `openvino/` and, at float32, `litert/` below `files`, where they are not brought.

    They are made of the SavedModel in `tensorflow/`, if that is brought: its signature
    `serving_default` takes `pixels` uint8 `[N, H, W, 3]` and gives `embedding` float32 `[N, D]`.
    A network that an engine cannot convert, or computes otherwise than TensorFlow does, or else
    the first engine that has files, leaves no files of that engine. Reduced precisions start from
    these float32 files.

    Args:
        files: the backbone's folder, with what its family brings.
        spec: the backbone's sizes and precision.

    Returns:
        Why an engine has no files, in one line, by engine; empty when all have theirs.

    Raises:
        ConfigurationError: the engine that the others are held against cannot run its files.
    """
    converters = {"openvino": _to_openvino, "litert": _to_litert}
    first = next(name for name in (TENSORFLOW, *converters) if (files / name).exists())
    if spec.precision != "float32":
        del converters["litert"]
    converters.pop(first, None)
    exact = dataclasses.replace(spec, precision="float32")
    with closing(open_engine(files, exact, first)) as engine:
        expected = engine.embed(_noise(spec))
    unavailable = {} if first == TENSORFLOW else {TENSORFLOW: NOT_BROUGHT}
    for name, converter in converters.items():
        problem = _try(converter, files, name) or _check(name, files, exact, expected)
        if problem:
            shutil.rmtree(files / name, ignore_errors=True)
            unavailable[name] = problem
    return unavailable


def _try(converter: Callable[[Path, Path], None], files: Path, engine: str) -> str | None:
    """What stopped the conversion, in one line; converters raise all kinds of exceptions."""
    saved_model, to = files / TENSORFLOW, files / engine
    if to.exists():
        return None
    if not saved_model.exists():
        return NOT_BROUGHT
    to.mkdir()
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
    signature = loaded.signatures[SERVING_DEFAULT]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([signature], loaded)
    (to / "model.tflite").write_bytes(converter.convert())


def _noise(spec: BackboneSpec) -> NDArray[np.uint8]:
    shape = (CHECKED_IMAGES, spec.height, spec.width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _check(name: str, files: Path, spec: BackboneSpec, expected: NDArray[np.float32]) -> str | None:
    """Whether the engine computes what the first one does; why not, in one line."""
    pixels = _noise(spec)
    try:
        engine = open_engine(files, spec, name)
    except ConfigurationError as error:
        return str(error)
    distance = relative_distance(expected, engine.embed(pixels))
    engine.close()
    if distance <= TOLERANCE:
        return None
    return f"its vectors differ from another engine's by {distance:.1e} of their length"


def relative_distance(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """The largest row distance by the length of the expected row, `[N, D]` each."""
    lengths = np.linalg.norm(expected, axis=1)
    distances = np.linalg.norm(expected - found, axis=1)
    return float(np.max(distances / np.maximum(lengths, np.finfo(np.float32).tiny)))

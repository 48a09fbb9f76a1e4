"""Turns a published SavedModel into a TFLite file: pixels in, scores out, labels packed in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linnaeus.errors import ConfigurationError
from linnaeus.signatures import EMBEDDING, PIXELS, SCORES, SERVING_DEFAULT
from linnaeus.training.tflite import metadata as tflite_metadata

KINDS = ("float32", "dynamic", "int8")
"""Exact; weights of 8 bits and arithmetic chosen at run time; everything in 8 bits."""


@dataclass(frozen=True)
class Source:
    """A SavedModel to convert, as `linnaeus.training.exporting.export` writes it."""

    folder: Path
    height: int
    width: int
    labels: tuple[str, ...]
    name: str = "linnaeus"


def convert(source: Source, kind: str, pictures: NDArray[np.uint8] | None = None) -> bytes:
    """The TFLite file of a model's `pixels` signature.

    It takes `pixels` uint8 `[1, height, width, 3]`, RGB as decoded, and gives `scores` float32
    `[1, C]` in the order of the labels: normalisation, head and temperature are inside. Every
    operation is a builtin one.

    Args:
        source: where the SavedModel lies, and what it takes and gives.
        kind: one of `KINDS`.
        pictures: `[N, height, width, 3]` of the user's own, on which int8 is calibrated; some
            hundred do.

    Raises:
        ConfigurationError: If the kind is unknown, int8 has no pictures, or TFLite has no kernel
            for an operation of the backbone.
    """
    import tensorflow as tf

    check_kind(kind)
    loaded = tf.saved_model.load(str(source.folder))
    function = _scores(loaded, source, kind)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], loaded)
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "int8":
        _calibrate(converter, pictures)
    model = _parsed(_convert(converter, source))
    if kind == "int8":
        _take_bytes_as_they_are(model)
    return tflite_metadata.with_labels(model, source.labels, source.name)


def check_kind(kind: str) -> None:
    """Raises ConfigurationError for what is none of `KINDS`."""
    if kind not in KINDS:
        raise ConfigurationError(f"there is no TFLite kind {kind!r}: use {', '.join(KINDS)}")


def _scores(loaded: Any, source: Source, kind: str) -> Any:
    """The signature `pixels` without its strings, for one picture."""
    import tensorflow as tf

    from linnaeus.training.tflite.precision import SmallHead

    pixels = tf.TensorSpec([1, source.height, source.width, 3], tf.uint8, name=PIXELS)
    backbone = loaded.backbone.signatures[SERVING_DEFAULT]
    head = SmallHead(loaded, in_bytes=kind != "float32")

    def scores(pixels: Any) -> dict[str, Any]:
        return {SCORES: head(backbone(pixels=pixels)[EMBEDDING])}

    return tf.function(scores, input_signature=[pixels]).get_concrete_function()


def _calibrate(converter: Any, pictures: NDArray[np.uint8] | None) -> None:
    import tensorflow as tf

    if pictures is None or not len(pictures):
        raise ConfigurationError("int8 is calibrated on pictures of your own: none were given")
    chosen = pictures

    def samples() -> Iterator[list[NDArray[np.uint8]]]:
        return ([row[np.newaxis]] for row in chosen)

    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8


def _convert(converter: Any, source: Source) -> bytes:
    """Converters raise all kinds of exceptions, of many lines."""
    try:
        return bytes(converter.convert())
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ConfigurationError(
            f"model {source.name} cannot become a TFLite file ({reason}): "
            "train it on another backbone, such as efficientnet-lite0"
        ) from error


def _parsed(file: bytes) -> Any:
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.read_model_from_bytearray(bytearray(file))


def _take_bytes_as_they_are(model: Any) -> None:
    """Drop the cast of an int8 model's pixels to float32, which nothing but QUANTIZE reads.

    A pixel is then a quantised number of scale 1 and zero point 0, and QUANTIZE only shifts it:
    all arithmetic up to the scores is on integers, as small processors need it. A graph of
    another form stays as it is, and is as right.
    """
    from ai_edge_litert.schema_py_generated import BuiltinOperator, QuantizationParametersT

    graph = model.subgraphs[0]
    codes = [code.builtinCode for code in model.operatorCodes]
    pixels = graph.inputs[0]
    readers = [one for one in graph.operators if pixels in one.inputs]
    cast = readers[0] if len(readers) == 1 else None
    if cast is None or codes[cast.opcodeIndex] != BuiltinOperator.CAST:
        return
    after = [one for one in graph.operators if cast.outputs[0] in one.inputs]
    if any(codes[one.opcodeIndex] != BuiltinOperator.QUANTIZE for one in after):
        return
    exact = QuantizationParametersT()
    exact.scale, exact.zeroPoint = np.ones(1, np.float32), np.zeros(1, np.int64)
    graph.tensors[pixels].quantization = exact
    for one in after:
        one.inputs = np.array([pixels], np.int32)
    graph.operators = [one for one in graph.operators if one is not cast]

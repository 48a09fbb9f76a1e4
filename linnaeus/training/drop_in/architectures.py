"""The networks of the tutorial 'TensorFlow for Poets', by the names of its `--architecture`.

What the tutorial had downloaded into its `--model_dir`, a frozen graph, is turned into a SavedModel
beside it; where it is not there, the same network is taken from TensorFlow Hub.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from linnaeus.errors import ConfigurationError
from linnaeus.signatures import SERVING_DEFAULT

INCEPTION = "https://tfhub.dev/google/imagenet/inception_v3/feature_vector/1"
MOBILENET = (
    "https://tfhub.dev/google/imagenet/mobilenet_v1_{width}_{size}/{style}feature_vector/{version}"
)
WIDTHS = {"1.0": "100", "0.75": "075", "0.50": "050", "0.5": "050", "0.25": "025"}

_MOBILENET = re.compile(
    r"mobilenet_(?P<width>1\.0|0\.75|0\.50?|0\.25)_(?P<size>224|192|160|128)(?P<quantized>_quantized)?"
)


@dataclass(frozen=True)
class Architecture:
    """A network: where the tutorial's file of it lies, how that is fed, and its handle on Hub."""

    graph: str
    """Path of the frozen graph below the tutorial's folder of models."""
    input: str
    bottleneck: str
    size: int
    mean: float
    """Taken from each value from 0 to 255, before the division by the deviation."""
    deviation: float
    handle: str


def named(name: str) -> Architecture:
    """What the tutorial meant by a name; ConfigurationError where it meant nothing."""
    if name.lower() == "inception_v3":
        graph = "classify_image_graph_def.pb"
        return Architecture(graph, "Mul:0", "pool_3:0", 299, 128.0, 128.0, INCEPTION)
    match = _MOBILENET.fullmatch(name.lower())
    if match is None:
        raise ConfigurationError(
            f"there is no architecture {name!r}: it is inception_v3, or "
            "mobilenet_<1.0|0.75|0.50|0.25>_<224|192|160|128>, which _quantized may follow"
        )
    return _mobilenet(match["width"], int(match["size"]), bool(match["quantized"]))


def _mobilenet(width: str, size: int, quantized: bool) -> Architecture:
    folder = f"mobilenet_v1_{'0.50' if width == '0.5' else width}_{size}"
    style, version = ("quantops/", 3) if quantized else ("", 5)
    return Architecture(
        graph=f"{folder}/{'quantized' if quantized else 'frozen'}_graph.pb",
        input="input:0",
        bottleneck="MobilenetV1/Predictions/Reshape:0",
        size=size,
        mean=127.5,
        deviation=127.5,
        handle=MOBILENET.format(width=WIDTHS[width], size=size, style=style, version=version),
    )


def backbone(name: str, model_dir: str) -> str:
    """The backbone to take for an architecture: a SavedModel's folder, or a handle."""
    architecture = named(name)
    graph = Path(model_dir) / architecture.graph
    return str(converted(architecture, graph)) if graph.exists() else architecture.handle


def converted(architecture: Architecture, graph: Path) -> Path:
    """The folder of the SavedModel that a frozen graph was, or now is, turned into.

    It is named after the graph's content, so that another graph gets another folder.
    """
    digest = sha256(graph.read_bytes()).hexdigest()[:12]
    folder = graph.absolute().parent / f"{graph.stem}-{digest}"
    if not folder.exists():
        with TemporaryDirectory(dir=folder.parent, prefix=".saved-model-") as draft:
            _save(architecture, graph, Path(draft) / "model")
            (Path(draft) / "model").replace(folder)
    return folder


def _save(architecture: Architecture, graph: Path, to: Path) -> None:
    """Write it as a module for pictures float32 [N, size, size, 3] from 0 to 1."""
    import tensorflow as tf

    from linnaeus.training.exporting.frozen_graph import read

    frozen = read(graph)

    def feature_vector(image: Any) -> Any:
        pixels = (image * 255.0 - architecture.mean) / architecture.deviation
        given, wanted = {architecture.input: pixels}, [architecture.bottleneck]
        (vector,) = tf.graph_util.import_graph_def(frozen, given, wanted, name="")
        return {"feature_vector": tf.reshape(vector, [tf.shape(vector)[0], vector.shape[-1]])}

    image = tf.TensorSpec([None, architecture.size, architecture.size, 3], tf.float32, "image")
    module = tf.Module()
    module.embed = tf.function(feature_vector, input_signature=[image])
    tf.saved_model.save(module, str(to), signatures={SERVING_DEFAULT: module.embed})

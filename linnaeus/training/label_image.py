"""Label one picture by a frozen graph or a model's folder, by the flags of `label_image.py`.

    python -m linnaeus.training.label_image --graph=/tmp/output_graph.pb \
        --labels=/tmp/output_labels.txt --input_layer=Placeholder --output_layer=final_result \
        --image=daisy.jpg

It prints the five best labels as `daisy (score=0.99071)`, best first.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linnaeus.errors import ConfigurationError, ImageError
from linnaeus.images import isolation
from linnaeus.plain_text import plain
from linnaeus.signatures import SERVING_DEFAULT
from linnaeus.storage import normalise, read_object
from linnaeus.training.drop_in.flags import flag, parse
from linnaeus.training.drop_in.programs import run_program

TOP = 5
USUAL_INPUTS = ("Placeholder", "input")
USUAL_OUTPUTS = ("final_result", "InceptionV3/Predictions/Reshape_1")
USUAL_PIXELS = 299

Scored = list[tuple[str, float]]


@dataclass(frozen=True)
class LabelImageFlags:
    """Label one picture by a frozen graph or a model's folder."""

    image: str = flag("", "The picture, a file or URI.")
    graph: str = flag("", "A frozen graph (.pb), or the folder of a SavedModel.")
    labels: str = flag("", "A label a line; a model of a workspace brings its own.")
    input_height: int | None = flag(None, f"Of the graph's input; its own, else {USUAL_PIXELS}.")
    input_width: int | None = flag(None, f"Of the graph's input; its own, else {USUAL_PIXELS}.")
    input_mean: float = flag(0.0, "Taken from each value from 0 to 255.")
    input_std: float = flag(255.0, "Each value is then divided by this.")
    input_layer: str = flag("", f"The graph's input; by default {' or '.join(USUAL_INPUTS)}.")
    output_layer: str = flag("", f"The graph's scores; by default {' or '.join(USUAL_OUTPUTS)}.")


def main() -> None:
    """Print the best labels of the picture that the process's flags name."""
    for label, score in label_image(parse(LabelImageFlags, "linnaeus.training.label_image")):
        print(f"{plain(label)} (score={score:0.5f})")


def label_image(flags: LabelImageFlags) -> Scored:
    """The best labels of a picture and their scores, best first.

    Raises:
        ConfigurationError: If a flag is missing, or graph, labels and picture do not fit together.
        StorageError, ImageError: If the picture cannot be read, or is none.
    """
    for name in ("graph", "image"):
        if not getattr(flags, name):
            raise ConfigurationError(f"Must set flag --{name}.")
    graph = Path(flags.graph)
    if not graph.exists():
        raise ConfigurationError(f"there is no graph {graph}: check --graph")
    picture = read_object(normalise(flags.image), None)
    return _by_folder(graph, picture, flags) if graph.is_dir() else _by_graph(graph, picture, flags)


def _by_graph(path: Path, picture: bytes, flags: LabelImageFlags) -> Scored:
    from linnaeus.training.exporting.frozen_graph import FrozenGraph

    graph = FrozenGraph(path)
    source = flags.input_layer or _usual(graph, USUAL_INPUTS)
    result = flags.output_layer or _usual(graph, USUAL_OUTPUTS)
    pixels = _pixels(picture, graph.size_of(source), flags)
    return _best(graph.run(source, result, pixels[np.newaxis]), _labels(flags.labels))


def _usual(graph: Any, layers: tuple[str, ...]) -> str:
    """The first layer that the graph has; else the first, for the error that names it."""
    return next((layer for layer in layers if graph.has(layer)), layers[0])


def _by_folder(folder: Path, picture: bytes, flags: LabelImageFlags) -> Scored:
    import tensorflow as tf

    if not (folder / "saved_model.pb").exists():
        raise ConfigurationError(
            f"{folder} is no SavedModel: name the folder with its saved_model.pb, which of a "
            "workspace's model is models/NAME/VERSION"
        )
    serve = tf.saved_model.load(str(folder)).signatures[SERVING_DEFAULT]
    ((name, given),) = serve.structured_input_signature[1].items()
    if given.dtype != tf.string:
        pixels = _pixels(picture, tuple(given.shape[1:3]), flags)
        outputs = serve(**{name: tf.constant(pixels[np.newaxis])})
        return _best(next(iter(outputs.values())).numpy(), _labels(flags.labels))
    outputs = {key: value.numpy() for key, value in serve(**{name: tf.constant([picture])}).items()}
    pairs = zip(outputs["top_labels"][0], outputs["top_scores"][0], strict=True)
    return [(label.decode(), float(score)) for label, score in pairs]


def _pixels(
    picture: bytes, size: tuple[int | None, int | None], flags: LabelImageFlags
) -> NDArray[np.float32]:
    """The pixels [H, W, 3] as training saw them, normalised."""
    height = flags.input_height or size[0] or USUAL_PIXELS
    width = flags.input_width or size[1] or USUAL_PIXELS
    try:
        pixels = isolation.decode(picture, height, width).pixels
    except ImageError as error:
        raise ImageError(f"{flags.image}: {error}", error.code) from error
    normalised: NDArray[np.float32] = (pixels.astype(np.float32) - flags.input_mean) / np.float32(
        flags.input_std
    )
    return normalised


def _labels(path: str) -> list[str]:
    if not path:
        raise ConfigurationError("Must set flag --labels: the graph does not know its labels.")
    try:
        text = read_object(normalise(path), None).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8: save the file as UTF-8") from error
    lines = text.removesuffix("\n").split("\n")
    return [line.rstrip("\r") for line in lines]


def _best(scores: NDArray, labels: list[str]) -> Scored:
    (row,) = scores
    if len(row) != len(labels):
        raise ConfigurationError(
            f"the graph gives {len(row)} scores, but --labels has {len(labels)} lines: "
            "take the file that was written with it"
        )
    return [(labels[i], float(row[i])) for i in np.argsort(-row, kind="stable")[:TOP]]


if __name__ == "__main__":
    run_program(main)

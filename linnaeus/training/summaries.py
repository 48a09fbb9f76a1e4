"""What TensorBoard shows of a training: curves, weights, activations and the confusion matrix.

The names are those that `retrain.py` gave to its summaries. Event files are records of protocol
buffers, as TensorFlow 1 wrote them and TensorBoard reads them to this day.
"""

import io
import itertools
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.special import expit
from tensorflow.core.framework.summary_pb2 import HistogramProto, Summary
from tensorflow.core.util.event_pb2 import Event, SessionLog

from linnaeus.training.heads.head import ACTIVATIONS, Dense, Head, Matrix, log_softmax

BINS = 30
FINAL_LAYER = "final_retrain_ops"
CONFUSION = "confusion_matrix"
PICTURE_PIXELS, CELL_PIXELS, READABLE_PIXELS = 900, 48, 12
"""Width that a confusion matrix may have, width of its cells at most, and least with text."""

AXES = "rows: true\ncolumns: predicted"
FONTS = ("NotoSansCJK-Regular.ttc", "DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf")
"""Tried in this order for labels; Pillow's own knows little more than ASCII."""

_numbers = itertools.count()


class Summaries:
    """One event file, which TensorBoard shows as a run named like its folder."""

    def __init__(self, folder: str | Path, task: Literal["single", "multi"], step: int = 0) -> None:
        """Begins a file; what an interrupted training wrote after `step` is no longer shown."""
        self._task = task
        self._file = _EventFile(Path(folder))
        self._file.write(Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)))

    def write(self, step: int, scores: tuple[float, float], head: Head, inputs: Matrix) -> None:
        """Cross-entropy and accuracy, a head's layers, and what they make of some inputs [n, D]."""
        loss, accuracy = scores
        values = [
            _scalar("cross_entropy_1", loss),
            _scalar("accuracy_1", accuracy),
            *_of_layers(head, inputs, self._task),
        ]
        self._file.write(Event(step=step, summary=Summary(value=values)))


def confusion_image(
    summaries_dir: str | Path, confusion: NDArray[np.int64], labels: tuple[str, ...]
) -> None:
    """Writes a confusion matrix [C, C], as a picture, to the run `test`."""
    picture = draw_confusion(confusion, labels)
    png = io.BytesIO()
    picture.save(png, "PNG")
    image = Summary.Image(
        height=picture.height,
        width=picture.width,
        colorspace=3,
        encoded_image_string=png.getvalue(),
    )
    value = Summary.Value(tag=CONFUSION, image=image)
    _EventFile(Path(summaries_dir) / "test").write(Event(summary=Summary(value=[value])))


def draw_confusion(confusion: NDArray[np.int64], labels: tuple[str, ...]) -> Image.Image:
    """Rows are true labels, columns predicted ones; the darker, the larger its share of the row.

    Counts and labels are written where there is room for them.
    """
    cell = max(1, min(CELL_PIXELS, PICTURE_PIXELS // len(labels)))
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    blue = np.array([8, 48, 107])
    pixels = (255 - shares[..., None] * (255 - blue)).astype(np.uint8)
    cells = Image.fromarray(pixels).resize((cell * len(labels),) * 2, Image.Resampling.NEAREST)
    if cell < READABLE_PIXELS:
        return cells
    _write_counts(cells, confusion, shares > 0.5, cell)
    return _with_labels(cells, labels, cell)


class _EventFile:
    """Events in the order in which they are written, each on disk at once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        seconds, host = f"{int(time.time()):010d}", socket.gethostname()
        name = f"events.out.tfevents.{seconds}.{host}.{os.getpid()}.{next(_numbers)}"
        self._records = tf.io.TFRecordWriter(str(folder / name))
        self.write(Event(file_version="brain.Event:2"))

    def write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
        self._records.flush()


def _of_layers(
    head: Head, inputs: Matrix, task: Literal["single", "multi"]
) -> Iterator[Summary.Value]:
    *hidden, _ = head.layers
    names = [f"hidden_{i}" for i in range(1, len(hidden) + 1)]
    activations = inputs.astype(np.float64)
    for name, layer in zip([*names, FINAL_LAYER], head.layers, strict=True):
        assert isinstance(layer, Dense)
        yield from _of_variable(f"{name}/weights", layer.kernel)
        yield from _of_variable(f"{name}/biases", layer.bias)
        activations = activations @ layer.kernel + layer.bias
        yield _histogram(f"{name}/Wx_plus_b/pre_activations", activations)
        if name != FINAL_LAYER:
            activations = ACTIVATIONS[layer.activation](activations)
            yield _histogram(f"{name}/activations", activations)
    scores = np.exp(log_softmax(activations)) if task == "single" else expit(activations)
    yield _histogram("activations", scores)


def _of_variable(name: str, values: NDArray[np.floating]) -> Iterator[Summary.Value]:
    with np.errstate(invalid="ignore"):  # of a training that diverges
        yield _scalar(f"{name}/summaries/mean", values.mean())
        yield _scalar(f"{name}/summaries/stddev", values.std())
    yield _scalar(f"{name}/summaries/max", values.max())
    yield _scalar(f"{name}/summaries/min", values.min())
    yield _histogram(f"{name}/summaries/histogram", values)


def _scalar(tag: str, value: float) -> Summary.Value:
    return Summary.Value(tag=tag, simple_value=float(value))


def _histogram(tag: str, values: NDArray[np.floating]) -> Summary.Value:
    finite = values[np.isfinite(values)].astype(np.float64)
    counts, edges = np.histogram(finite, BINS)
    histogram = HistogramProto(
        min=finite.min(initial=np.inf),
        max=finite.max(initial=-np.inf),
        num=len(finite),
        sum=finite.sum(),
        sum_squares=(finite * finite).sum(),
        bucket_limit=edges[1:],
        bucket=counts,
    )
    return Summary.Value(tag=tag, histo=histogram)


def _write_counts(
    cells: Image.Image, confusion: NDArray[np.int64], dark: NDArray[np.bool_], cell: int
) -> None:
    pen, font = ImageDraw.Draw(cells), _font(max(8, cell // 4))
    for row, column in np.argwhere(confusion):
        place = ((column + 0.5) * cell, (row + 0.5) * cell)
        colour = "white" if dark[row, column] else "black"
        pen.text(place, str(confusion[row, column]), colour, font, anchor="mm")


def _with_labels(cells: Image.Image, labels: tuple[str, ...], cell: int) -> Image.Image:
    """The labels of rows at the left, of columns below, turned."""
    font = _font(max(8, min(16, cell // 2)))
    margin = 10 + max(int(font.getlength(text)) for text in (*labels, *AXES.splitlines()))
    rows = Image.new("RGB", (margin, cells.height), "white")
    pen = ImageDraw.Draw(rows)
    for i, label in enumerate(labels):
        pen.text((margin - 5, (i + 0.5) * cell), label, "black", font, anchor="rm")
    picture = Image.new("RGB", (margin + cells.width, cells.height + margin), "white")
    picture.paste(rows, (0, 0))
    picture.paste(cells, (margin, 0))
    picture.paste(rows.rotate(90, expand=True), (margin, cells.height))
    ImageDraw.Draw(picture).text((5, cells.height + 5), AXES, "grey", font)
    return picture


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    for name in FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)

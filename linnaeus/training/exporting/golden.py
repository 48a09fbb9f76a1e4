"""Golden images: pictures that ship with a model, and what the worker says of them.

Whoever serves the model can send them and compare: `golden.json` has, for each file, the
embedding that a worker computes (decoded by Pillow, embedded by the engine), the head's scores,
how far others' may be from these (`tolerance`) and what the model says of them.
They are drawn, not photographed: the same on every machine and nobody's property.
"""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from linnaeus import images
from linnaeus.engines import Engine
from linnaeus.models import GOLDEN_INDEX, GoldenIndex, GoldenRecord, ModelBackbone
from linnaeus.training.evaluation.decisions import DecisionRule, scores_of
from linnaeus.training.exporting import tolerance
from linnaeus.training.heads.head import Head

SIZE = (640, 480)
LARGE = (2400, 1800)
ORIENTATION, SIDEWAYS = 0x0112, 6


def write(
    folder: Path, engine: Engine, backbone: ModelBackbone, head: Head, rule: DecisionRule
) -> None:
    """Writes the pictures and `golden.json` into `folder`, which is made."""
    folder.mkdir()
    pictures = encoded_pictures()
    for name, data in pictures.items():
        (folder / name).write_bytes(data)
    embeddings = embed(list(pictures.values()), engine, backbone)
    scores = scores_of(head.logits(embeddings), rule.task)
    decisions = rule.decide(scores)
    rounding = tolerance.rounding(head, embeddings)
    sensitivity = tolerance.sensitivity(head, embeddings, rule.task)
    expected = [
        GoldenRecord(
            file=name,
            label=decisions.label[i],
            labels=decisions.labels[i],
            scores=_digits(scores[i]),
            rounding=float(rounding[i]),
            sensitivity=_digits(sensitivity[i]),
            embedding=_digits(embeddings[i]),
        )
        for i, name in enumerate(pictures)
    ]
    index = GoldenIndex(rule.labels, expected)
    (folder / GOLDEN_INDEX).write_text(index.to_json(), "utf-8")


def embed(data: list[bytes], engine: Engine, backbone: ModelBackbone) -> NDArray[np.float32]:
    """Embeddings [n, D] of encoded images as a worker computes them."""
    pixels = [images.decode(one, backbone.height, backbone.width).pixels for one in data]
    return engine.embed(np.stack(pixels))


def encoded_pictures() -> dict[str, bytes]:
    """One file for each way in which decoders tend to differ, by name."""
    picture = draw(SIZE)
    exif = Image.Exif()
    exif[ORIENTATION] = SIDEWAYS
    sixteen_bit = (np.asarray(picture.convert("L")).astype(np.uint16) * 257).astype(np.uint16)
    return {
        "plain.jpg": _encoded(picture, "JPEG", quality=90),
        "turned.jpg": _encoded(picture, "JPEG", quality=90, exif=exif),
        "cmyk.jpg": _encoded(picture.convert("CMYK"), "JPEG", quality=90),
        "large.jpg": _encoded(draw(LARGE), "JPEG", quality=85),
        "alpha.png": _encoded(_transparent(picture), "PNG"),
        "palette.png": _encoded(picture.quantize(64), "PNG"),
        "sixteen-bit.png": _encoded(Image.fromarray(sixteen_bit), "PNG"),
    }


def draw(size: tuple[int, int]) -> Image.Image:
    """A soft coloured ground with a few sharp shapes, RGB, size (width, height)."""
    rng = np.random.default_rng(20)
    coarse = Image.fromarray(rng.integers(40, 216, (9, 12, 3), dtype=np.uint8))
    picture = coarse.resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y, width, height = rng.random(4) * np.array([*size, size[0] / 3, size[1] / 3])
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        shape: Callable[..., None] = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape([x, y, x + width, y + height], fill=colour)
    return picture


def _transparent(picture: Image.Image) -> Image.Image:
    """The picture fading out to the right."""
    fading = np.linspace(255, 0, picture.width).astype(np.uint8)
    veil = Image.fromarray(np.tile(fading, (picture.height, 1)))
    picture = picture.copy()
    picture.putalpha(veil)
    return picture


def _encoded(picture: Image.Image, form: str, **options: object) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def _digits(values: NDArray[np.floating]) -> list[float]:
    """As few decimal digits as read back as the same float32."""
    return [float(str(value)) for value in values.astype(np.float32)]

"""Pictures varied at random, the same way for the same seed.

The distortions are those of `retrain.py` (scale, crop, flip, brightness) and of Keras'
`ImageDataGenerator`, which `make_image_classifier` used (rotation, in degrees here; shift, zoom,
flip). All that move pixels are one affine map, so that a picture is resampled once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from linnaeus.augmentation_settings import Augmentation

# Whoever changes a pixel that `augmented` returns raises it: stored views have it in their name.
VERSION = 1
MOST_ENLARGED = 4.0
"""A picture is decoded at no more than so many times its size, however far one zooms in."""

Seed = int | Sequence[int]


@dataclass(frozen=True)
class Distortion:
    """What is done to one picture; lengths are shares of the picture's."""

    mirror_x: bool = False
    mirror_y: bool = False
    turn_degrees: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    window_x: float = 1.0
    """Width of what is seen: below 1 the picture is enlarged."""
    window_y: float = 1.0
    scale: float = 1.0
    """The picture grows by this, at least 1, before it is cropped to its size again."""
    crop_x: float = 0.0
    """Where the crop lies: 0 at the left, 1 at the right."""
    crop_y: float = 0.0
    brightness: float = 1.0


def draw(augmentation: Augmentation, seed: Seed) -> Distortion:
    """A random distortion; each value is uniform over the range of its setting.

    Every value is drawn whether it is used or not, so one setting does not change another's values.
    A seed is not negative.
    """
    random = np.random.default_rng(seed)

    def around(middle: float, range_: float) -> float:
        return float(random.uniform(middle - range_, middle + range_))

    mirror_x, mirror_y = random.random(2) < 0.5
    return Distortion(
        mirror_x=bool(mirror_x) and augmentation.horizontal_flip,
        mirror_y=bool(mirror_y) and augmentation.vertical_flip,
        turn_degrees=around(0, augmentation.rotation),
        shift_x=around(0, augmentation.width_shift),
        shift_y=around(0, augmentation.height_shift),
        window_x=around(1, augmentation.zoom),
        window_y=around(1, augmentation.zoom),
        scale=(1 + augmentation.random_crop / 100)
        * float(random.uniform(1, 1 + augmentation.random_scale / 100)),
        crop_x=float(random.random()),
        crop_y=float(random.random()),
        brightness=around(1, augmentation.random_brightness / 100),
    )


def decode_size(augmentation: Augmentation, height: int, width: int) -> tuple[int, int]:
    """The height and width to decode at, so that what is enlarged most still shows every detail."""
    grown = (1 + augmentation.random_crop / 100) * (1 + augmentation.random_scale / 100)
    enlarged = min(grown / (1 - augmentation.zoom), MOST_ENLARGED)
    return ceil(height * enlarged), ceil(width * enlarged)


def augmented(
    pixels: NDArray[np.uint8], augmentation: Augmentation, seed: Seed, height: int, width: int
) -> NDArray[np.uint8]:
    """A picture, varied.

    Beyond its border a picture goes on with its outermost pixels. Brightness stays within 0 to
    255.

    Takes uint8 [H, W, 3], best of `decode_size`, and returns uint8 [height, width, 3], the same for
    the same seed; if nothing varies, the pixels resized as `images.decode` does.
    """
    if not augmentation.varies:
        plain = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(plain)
    return distorted(pixels, draw(augmentation, seed), height, width)


def distorted(
    pixels: NDArray[np.uint8], distortion: Distortion, height: int, width: int
) -> NDArray[np.uint8]:
    """A picture, uint8 [H, W, 3], with one distortion: uint8 [height, width, 3]."""
    matrix = _affine(distortion, pixels.shape[:2], (height, width))
    moved = _resampled(pixels, matrix, height, width)
    if distortion.brightness != 1:
        levels = np.rint(np.arange(256) * distortion.brightness).clip(0, 255)
        moved = moved.point(levels.astype(int).tolist() * 3)
    return np.asarray(moved)


def _affine(
    distortion: Distortion, source: tuple[int, ...], target: tuple[int, int]
) -> NDArray[np.float64]:
    """The map from a place in the result to one in the picture, float64 [3, 3].

    Places are (x, y, 1) in pixels from the upper left corner. From right to left: mirror; zoom,
    shift and turn about the middle, as Keras does; scale and crop, as retrain.py does. `source` is
    height and width of the picture in pixels, `target` those of the result.
    """
    height, width = target
    angle = np.deg2rad(distortion.turn_degrees)
    sine, cosine = np.sin(angle), np.cos(angle)
    margin = distortion.scale - 1
    steps = [
        _scaled(source[1] / width, source[0] / height),
        _scaled(1 / distortion.scale, 1 / distortion.scale),
        _moved(distortion.crop_x * margin * width, distortion.crop_y * margin * height),
        _moved(width / 2, height / 2),
        np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]),
        _moved(distortion.shift_x * width, distortion.shift_y * height),
        _scaled(distortion.window_x, distortion.window_y),
        _scaled(-1 if distortion.mirror_x else 1, -1 if distortion.mirror_y else 1),
        _moved(-width / 2, -height / 2),
    ]
    return reduce(np.matmul, steps)


def _scaled(x: float, y: float) -> NDArray[np.float64]:
    return np.diag([x, y, 1.0])


def _moved(x: float, y: float) -> NDArray[np.float64]:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def _resampled(
    pixels: NDArray[np.uint8], matrix: NDArray[np.float64], height: int, width: int
) -> Image.Image:
    """Look every pixel of the result up in the picture, between its four neighbours there."""
    corners = matrix @ [[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]]
    size = np.array([pixels.shape[1], pixels.shape[0]])
    before = np.ceil(np.maximum(-corners[:2].min(axis=1), 0)).astype(int)
    after = np.ceil(np.maximum(corners[:2].max(axis=1) - size, 0)).astype(int)
    # Pillow itself has one colour for everything beyond the border.
    sides = ((before[1], after[1]), (before[0], after[0]), (0, 0))
    image = Image.fromarray(np.pad(pixels, sides, mode="edge"))
    coefficients = (_moved(*before) @ matrix)[:2].ravel().tolist()
    return image.transform(
        (width, height), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
    )

import math
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from linnaeus import images
from linnaeus.augmentation_settings import Augmentation
from linnaeus.errors import ConfigurationError
from linnaeus.images.augmentation import Distortion, augmented, decode_size, distorted, draw
from tests import pictures

Pixels = NDArray[np.uint8]

SIZE = 32
NOISE = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
SCENE = np.asarray(pictures.scene(48, 40))
RETRAIN = Augmentation(random_crop=10, random_scale=25, random_brightness=20)
KERAS = Augmentation(
    horizontal_flip=True, rotation=40, width_shift=0.2, height_shift=0.2, zoom=0.2
)  # those of make_image_classifier
EVERYTHING = replace(
    KERAS, vertical_flip=True, random_crop=10, random_scale=25, random_brightness=20
)


def largest_difference(a: Pixels, b: Pixels) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def looked_up(pixels: Pixels, distortion: Distortion, height: int, width: int) -> Pixels:
    """The slow and obvious way: each pixel of the result from its four neighbours."""
    rows = [
        [_between(pixels, *_place(distortion, x + 0.5, y + 0.5, pixels, height, width))]
        for y in range(height)
        for x in range(width)
    ]
    bright = np.array(rows).reshape(height, width, 3) * distortion.brightness
    return bright.clip(0, 255).astype(np.uint8)


def _place(
    d: Distortion, x: float, y: float, pixels: Pixels, height: int, width: int
) -> tuple[float, float]:
    """Where (x, y) of the result lies in the picture."""
    x, y = (width - x if d.mirror_x else x), (height - y if d.mirror_y else y)
    x, y = (x - width / 2) * d.window_x, (y - height / 2) * d.window_y
    x, y = x + d.shift_x * width, y + d.shift_y * height
    turn = math.radians(d.turn_degrees)
    x, y = (
        math.cos(turn) * x - math.sin(turn) * y + width / 2,
        math.sin(turn) * x + math.cos(turn) * y + height / 2,
    )
    x, y = x + d.crop_x * (d.scale - 1) * width, y + d.crop_y * (d.scale - 1) * height
    return (
        x / d.scale * pixels.shape[1] / width,
        y / d.scale * pixels.shape[0] / height,
    )


def _between(pixels: Pixels, x: float, y: float) -> NDArray[np.float64]:
    left, top = math.floor(x - 0.5), math.floor(y - 0.5)
    right_share, lower_share = x - 0.5 - left, y - 0.5 - top

    def at(row: int, column: int) -> NDArray[np.uint8]:
        height, width = pixels.shape[:2]
        return pixels[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]

    upper = at(top, left) * (1 - right_share) + at(top, left + 1) * right_share
    lower = at(top + 1, left) * (1 - right_share) + at(top + 1, left + 1) * right_share
    return upper * (1 - lower_share) + lower * lower_share


@pytest.mark.parametrize(("height", "width"), [(40, 48), (20, 30), (64, 50)])
def test_where_nothing_varies_pixels_are_as_decoded(height: int, width: int):
    data = pictures.png(48, 40)
    plain = images.decode(data, 40, 48).pixels
    pixels = augmented(plain, Augmentation(), 1, height, width)
    np.testing.assert_array_equal(pixels, images.decode(data, height, width).pixels)
    assert decode_size(Augmentation(), height, width) == (height, width)


@pytest.mark.parametrize(
    ("distortion", "expected"),
    [
        (Distortion(), NOISE),
        (Distortion(mirror_x=True), NOISE[:, ::-1]),
        (Distortion(mirror_y=True), NOISE[::-1]),
        (Distortion(mirror_x=True, mirror_y=True), NOISE[::-1, ::-1]),
        (Distortion(shift_x=4 / SIZE), NOISE[:, [*range(4, SIZE), *[SIZE - 1] * 4]]),
        (Distortion(shift_y=-3 / SIZE), NOISE[[*[0] * 3, *range(SIZE - 3)]]),
        (Distortion(brightness=0.5), np.rint(NOISE * 0.5)),
        (Distortion(brightness=1.5), np.rint(NOISE * 1.5).clip(0, 255)),
    ],
)
def test_single_distortions_are_those_of_numpy(distortion: Distortion, expected: Pixels):
    np.testing.assert_array_equal(distorted(NOISE, distortion, SIZE, SIZE), expected)


@pytest.mark.parametrize("turns", [-2, -1, 1, 2])
def test_a_turn_is_in_degrees(turns: int):
    turned = distorted(NOISE, Distortion(turn_degrees=90 * turns), SIZE, SIZE)
    # A sine is not quite 1, and Pillow rounds down.
    assert largest_difference(turned, np.rot90(NOISE, turns)) <= 1


def test_a_crop_is_that_of_an_enlarged_picture():
    twice = np.asarray(pictures.scene(96, 80))
    cropped = distorted(twice, Distortion(scale=2, crop_x=1, crop_y=0), 40, 48)
    assert largest_difference(cropped, twice[:40, 48:]) <= 1


shares = st.floats(-0.5, 0.5)
windows = st.floats(0.5, 1.5)
places = st.floats(0, 1)


@settings(deadline=None, max_examples=40)
@given(
    st.builds(
        Distortion,
        mirror_x=st.booleans(),
        mirror_y=st.booleans(),
        turn_degrees=st.floats(-180, 180),
        shift_x=shares,
        shift_y=shares,
        window_x=windows,
        window_y=windows,
        scale=st.floats(1, 2),
        crop_x=places,
        crop_y=places,
    ),
    st.integers(1, 9),
    st.integers(1, 9),
)
def test_all_distortions_together_are_one_lookup(distortion: Distortion, height: int, width: int):
    pixels = distorted(SCENE, distortion, height, width)
    assert pixels.shape == (height, width, 3)
    assert largest_difference(pixels, looked_up(SCENE, distortion, height, width)) <= 1


def drawn(augmentation: Augmentation, name: str) -> NDArray[np.float64]:
    return np.array([getattr(draw(augmentation, seed), name) for seed in range(2000)])


@pytest.mark.parametrize(
    ("augmentation", "name", "low", "high"),
    [
        (RETRAIN, "scale", 1.1, 1.1 * 1.25),
        (RETRAIN, "crop_x", 0, 1),
        (RETRAIN, "crop_y", 0, 1),
        (RETRAIN, "brightness", 0.8, 1.2),
        (KERAS, "turn_degrees", -40, 40),
        (KERAS, "shift_x", -0.2, 0.2),
        (KERAS, "shift_y", -0.2, 0.2),
        (KERAS, "window_x", 0.8, 1.2),
        (KERAS, "window_y", 0.8, 1.2),
    ],
)
def test_values_are_uniform_over_their_range(
    augmentation: Augmentation, name: str, low: float, high: float
):
    values = np.sort((drawn(augmentation, name) - low) / (high - low))
    assert values[0] >= 0
    assert values[-1] <= 1
    expected = (np.arange(len(values)) + 0.5) / len(values)
    assert np.abs(values - expected).max() < 0.04  # Kolmogorov-Smirnov, far beyond 0.1 %


@pytest.mark.parametrize(
    ("flip", "name"), [("horizontal_flip", "mirror_x"), ("vertical_flip", "mirror_y")]
)
def test_half_of_the_pictures_are_mirrored_where_asked_for(flip: str, name: str):
    assert 0.45 < drawn(Augmentation(**{flip: True}), name).mean() < 0.55
    assert drawn(replace(EVERYTHING, **{flip: False}), name).sum() == 0


@pytest.mark.parametrize("name", [f.name for f in fields(Augmentation)])
def test_a_setting_leaves_the_values_of_others_alone(name: str):
    with_all, without = (
        asdict(draw(augmentation, 7))
        for augmentation in (EVERYTHING, replace(EVERYTHING, **{name: 0}))
    )
    assert sum(with_all[key] != without[key] for key in with_all) <= 2


def test_the_same_seed_gives_the_same_bytes_and_another_one_others():
    def pixels(*seed: int) -> bytes:
        return augmented(SCENE, EVERYTHING, seed, 20, 24).tobytes()

    assert pixels(1, 2) == pixels(1, 2)
    assert len({pixels(1, 2), pixels(2, 1), pixels(1, 3), pixels(1, 2, 1 << 255)}) == 4


def test_pictures_are_decoded_large_enough_for_what_is_enlarged_most():
    height, width = decode_size(EVERYTHING, 100, 200)
    most = 1.1 * 1.25 / 0.8
    assert (height, width) == (math.ceil(100 * most), math.ceil(200 * most))
    assert decode_size(Augmentation(zoom=0.999), 100, 200) == (400, 800)


@pytest.mark.parametrize(
    "wrong",
    [
        {"zoom": 1},
        {"rotation": 181},
        {"random_brightness": 100},
        {"width_shift": -0.1},
        {"height_shift": 30},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, float]):
    with pytest.raises(ConfigurationError):
        Augmentation(**wrong)


def test_an_augmentation_varies_if_one_setting_does():
    assert not Augmentation().varies
    assert all(Augmentation(**{f.name: 1e-3}).varies for f in fields(Augmentation))

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linnaeus.images import decode
from linnaeus.training.data.examples import Examples
from tests import pictures

pytestmark = pytest.mark.slow

SIZE = (12, 16)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"{number}.jpg" for number in range(5)]
    for number, file in enumerate(files):
        file.write_bytes(pictures.jpeg(seed=number))
    return files


def read(files: list[Path], digests: list[str], to: Path) -> Any:
    from linnaeus.training.fine_tuning.pixel_stream import read_pictures

    done: list[int] = []
    found = read_pictures([str(file) for file in files], digests, SIZE, to, done.append)
    assert done == list(range(1, len(files) + 1))
    return found


def test_pictures_are_those_that_are_embedded(files: list[Path], tmp_path: Path):
    found = read(files, [digest(file) for file in files], tmp_path / "pixels")
    assert found.rows.tolist() == [0, 1, 2, 3, 4]
    for row, file in enumerate(files):
        np.testing.assert_array_equal(found.pixels[row], decode(file.read_bytes(), *SIZE).pixels)


def test_what_is_gone_broken_or_another_picture_is_left_out(files: list[Path], tmp_path: Path):
    digests = [digest(file) for file in files]
    files[0].unlink()
    files[1].write_bytes(b"broken")
    shutil.copy(files[3], files[2])
    assert read(files, digests, tmp_path / "pixels").rows.tolist() == [3, 4]


def stream(batch_size: int, **options: Any) -> Any:
    """Of images 1, 3, 4, 5 and 6, each of which holds its own number."""
    from linnaeus.training.fine_tuning.pixel_stream import Stream

    inputs = np.broadcast_to(np.arange(8, dtype=np.uint8)[:, None, None, None], (8, 2, 2, 3))
    examples = Examples(np.zeros((8, 1)), np.arange(8) * 10, np.arange(8, dtype=np.float32) + 1)
    return Stream(inputs, np.array([1, 3, 4, 5, 6]), examples, batch_size, **options)


def test_batches_hold_images_with_their_targets_and_weights():
    first, last = stream(3).batches().as_numpy_iterator()
    assert first[0][:, 0, 0, 0].tolist() == [1, 3, 4]
    assert first[1].tolist() == [10, 30, 40]
    assert first[2].tolist() == [2, 4, 5]
    assert first[3].tolist() == pytest.approx([1 / 3] * 3)
    # The short one is as large, but two images count.
    assert last[1].tolist() == [50, 60, 50]
    assert last[2].tolist() == [6, 7, 0]
    assert last[3].tolist() == [0.5] * 3


def test_batches_follow_an_order_and_are_divisible():
    (batch,) = stream(9, parts=2).batches(np.array([4, 0, 1, 3, 2])).as_numpy_iterator()
    assert batch[1].tolist() == [60, 10, 30, 50, 40, 60]
    assert batch[2][-1] == 0


def test_each_epoch_varies_each_picture_by_its_row():
    def vary(pixels: Any, epoch: int, row: int) -> Any:
        return np.full((1, 1, 3), 10 * epoch + row, np.uint8)

    varied = stream(5, vary=vary)
    for epoch in (1, 2):
        (batch,) = varied.batches(epoch=epoch).as_numpy_iterator()
        assert batch[0][:, 0, 0, 0].tolist() == [10 * epoch + row for row in (1, 3, 4, 5, 6)]


def test_what_a_network_makes_of_pictures_lies_in_their_rows(tmp_path: Path):
    import tensorflow as tf

    from linnaeus.training.fine_tuning.pixel_stream import Pictures, computed

    pixels = np.random.default_rng(0).integers(0, 256, (70, 2, 2, 3), np.uint8)
    rows = np.arange(1, 70, 2)
    done: list[int] = []
    values = computed(
        Pictures(pixels, rows),
        lambda x: tf.reduce_sum(tf.cast(x, tf.float32), [1, 2]),
        tmp_path / "values",
        done.append,
    )
    np.testing.assert_array_equal(values[rows], pixels[rows].sum((1, 2), dtype=np.float32))
    assert done == [32, 35]

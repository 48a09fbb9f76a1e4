from pathlib import Path

import numpy as np
import pytest

from linnaeus.backbones.families import parse
from linnaeus.backbones.families.pixels import Pixels
from linnaeus.errors import ConfigurationError


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("pixels", 28), ("pixels@5", 5)])
def test_pixels_are_their_own_embedding(name: str, size: int, tmp_path: Path):
    import tensorflow as tf

    saved = Pixels(parse(name)).save(tmp_path)
    assert (saved.height, saved.width, saved.embedding_size) == (size, size, size * size * 3)
    pixels = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    loaded = tf.saved_model.load(str(tmp_path / "tensorflow"))
    embedding = loaded.embed(tf.constant(pixels))["embedding"]
    assert embedding.dtype == tf.float32
    np.testing.assert_allclose(embedding, pixels.reshape(3, -1) / 255, rtol=1e-6)


@pytest.mark.slow
def test_pixels_have_no_middle_layers(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="no middle layers"):
        Pixels(parse("pixels+mid")).save(tmp_path)

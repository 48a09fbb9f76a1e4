from dataclasses import replace

import numpy as np
import pytest

from linnaeus.errors import ConfigurationError
from linnaeus.training.data.refusals import refuse_not_finite
from linnaeus.training.heads.head import BLOCK_ROWS
from tests.linnaeus.training.heads.rows import examples, labelled

IMAGES = BLOCK_ROWS + 100


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, BLOCK_ROWS + 3])
def test_the_first_image_without_a_finite_embedding_is_named(value: float, row: int) -> None:
    data = labelled(examples(images=IMAGES), IMAGES - 20, 10, 10)
    data.rows.embeddings[[row, IMAGES - 1], 2] = value
    with pytest.raises(ConfigurationError, match=rf"embedding of /{row}\.jpg .* leave the image"):
        refuse_not_finite(data)


def test_large_finite_values_pass() -> None:
    data = labelled(examples(images=100), 80, 10, 10)
    huge = np.full_like(data.rows.embeddings, 3e38)
    refuse_not_finite(replace(data, rows=replace(data.rows, embeddings=huge)))

"""IDX files that tests make."""

import numpy as np
from numpy.typing import NDArray

from linnaeus.datasets.idx import UNSIGNED_BYTES


def write_idx(values: NDArray[np.uint8]) -> bytes:
    """The IDX file of an array of 1 to 255 dimensions."""
    header = [UNSIGNED_BYTES + values.ndim, *values.shape]
    return b"".join(number.to_bytes(4, "big") for number in header) + values.tobytes()

"""Some of the user's own pictures: what a reduced precision is calibrated and judged on."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from linnaeus.errors import ConfigurationError, ImageError, StorageError
from linnaeus.images import Limits, isolation
from linnaeus.manifests import freezing
from linnaeus.manifests.freezing import Manifest
from linnaeus.storage import Folder, read_object
from linnaeus.tables import query

SAMPLE_IMAGES = 200

_SPREAD = """
SELECT uri FROM listed WHERE position % $step = 0 AND size <= $most ORDER BY position LIMIT $limit
"""


def sampler(workspace: Folder, manifest: Manifest) -> Callable[[int, int], NDArray[np.uint8]]:
    """A function of height and width that gives pictures evenly spread over the manifest."""

    def sample(height: int, width: int) -> NDArray[np.uint8]:
        step = max(1, manifest.objects // SAMPLE_IMAGES)
        with freezing.local_file(workspace, manifest.id) as listed:
            values = {"step": step, "limit": SAMPLE_IMAGES, "most": Limits().image_bytes}
            found = query(_SPREAD, {"listed": listed}, values)
        return _decoded(found["uri"].to_pylist(), height, width)

    return sample


def _decoded(uris: list[str], height: int, width: int) -> NDArray[np.uint8]:
    pictures = []
    for uri in uris:
        try:
            pictures.append(isolation.decode(read_object(uri, None), height, width).pixels)
        except (ImageError, StorageError):
            continue  # the run records what is wrong with it
    if not pictures:
        raise ConfigurationError(f"None of {len(uris)} sampled images can be decoded; see IMAGES")
    return np.stack(pictures)

"""What each signature of the model `bench` is sent."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.catalogue import SIGNATURES
from benchmarks.setting import MODEL, Setting
from benchmarks.stored import vectors
from linnaeus import images
from serving.protocol import tensors, wire
from serving.protocol.messages import declare

ROWS = {signature: 256 if signature == "embedding" else 8 for signature in SIGNATURES}
"""Signature -> rows in a request of ordinary size."""

_Example: Any = declare(
    "linnaeus.benchmarks",
    {
        "BytesList": {"value": (1, "repeated bytes")},
        "Feature": {"bytes_list": (1, "BytesList")},
        "Features": {"feature": (1, "map Feature")},
        "Example": {"features": (1, "Features")},
    },
)["Example"]


def request(setting: Setting, signature: str, rows: int) -> bytes:
    """A Predict request for the newest version, serialised."""
    message = wire.PredictRequest()
    message.model_spec.name = MODEL
    message.model_spec.signature_name = signature
    for alias, array in feeds(setting, signature, rows).items():
        tensors.fill_content(message.inputs[alias], array)
    data: bytes = message.SerializeToString()
    return data


def feeds(setting: Setting, signature: str, rows: int) -> dict[str, NDArray[Any]]:
    """Input alias -> rows."""
    alias, make = _INPUTS[signature]
    return {alias: make(setting, rows)}


def _encoded(setting: Setting, rows: int) -> NDArray[Any]:
    return _strings([path.read_bytes() for path in islice(cycle(setting.files()), rows)])


def _pixels(setting: Setting, rows: int) -> NDArray[Any]:
    spec = setting.spec()
    encoded = _encoded(setting, rows)
    return np.stack([images.decode(data, spec.height, spec.width).pixels for data in encoded])


def _embeddings(setting: Setting, rows: int) -> NDArray[Any]:
    return vectors(0, rows, setting.spec().embedding_size)


def _examples(setting: Setting, rows: int) -> NDArray[Any]:
    found = []
    for data in _encoded(setting, rows):
        example = _Example()
        example.features.feature["image/encoded"].bytes_list.value.append(data)
        found.append(example.SerializeToString())
    return _strings(found)


def _strings(values: list[bytes]) -> NDArray[Any]:
    array = np.empty(len(values), object)
    array[:] = values
    return array


_INPUTS: dict[str, tuple[str, Callable[[Setting, int], NDArray[Any]]]] = {
    "serving_default": ("image_bytes", _encoded),
    "pixels": ("pixels", _pixels),
    "embedding": ("embedding", _embeddings),
    "embed": ("image_bytes", _encoded),
    "classify": ("inputs", _examples),
}

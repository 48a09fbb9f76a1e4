"""Prepare a backbone: write its network for every engine into a workspace, once.

Below `backbones/<fingerprint>/` lie `spec.json` and a folder an attempt, of which the spec names
the one that counts. So two that prepare at once never mix their files: whoever creates
`spec.json` has made the backbone, and the other takes its own files away again.
`backbones/names/` finds the fingerprint of what was prepared before without loading a network.
"""

import dataclasses
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from ulid import ULID

from linnaeus import choices
from linnaeus.backbones import (
    FINGERPRINT_DIGITS,
    TENSORFLOW,
    BackboneSpec,
    Family,
    Saved,
    TrainableFamily,
    Writable,
    arrays_sha256,
    json_sha256,
    nearest,
    store,
    stored_files,
)
from linnaeus.backbones.families import fine_tuned, parse
from linnaeus.errors import ConfigurationError
from linnaeus.images import PREPROCESSING
from linnaeus.storage import Folder

ENGINES = ("openvino", "litert", TENSORFLOW)

PRECISIONS: tuple[str, ...] = get_args(choices.Precision)

Sample = Callable[[int, int], NDArray[np.uint8]]
"""Some of the user's pictures, `[N, height, width, 3]`, by the height and width in pixels."""


def prepare(
    workspace: Folder, name: str, precision: str = "float32", sample: Sample | None = None
) -> BackboneSpec:
    """The backbone of that name and precision, made now if the workspace does not have it.

    `sample` gives pictures on which a reduced precision is calibrated (int8) and compared with
    float32. What the workspace has is found without TensorFlow and without a download.
    Raises ConfigurationError for a name, weights or a precision that cannot be had.
    """
    _check_precision(precision, sample)
    named = network(workspace, name)
    if named.prepared and named.prepared.precision == precision:
        return named.prepared
    key = _index_key(named, precision)
    known = store.find_named(workspace, key)
    if known is not None:
        return known
    _check_tensorflow(named)
    judge = None if precision == "float32" else sample
    spec = _make(workspace, named, Precision(precision, judge), str(named.name))
    return store.remember(workspace, key, spec)


def find(workspace: Folder, name: str, precision: str = "float32") -> BackboneSpec | None:
    """The backbone of that name and precision if the workspace has it; nothing is made."""
    named = network(workspace, name)
    if named.prepared and named.prepared.precision == precision:
        return named.prepared
    return store.find_named(workspace, _index_key(named, precision))


def publish_tuned(workspace: Folder, trained: Writable) -> BackboneSpec:
    """Make a network that was fine-tuned a backbone of the workspace, `tuned:<fingerprint>`."""
    return _make(workspace, trained, Precision("float32", None))


def network(workspace: Folder, name: str) -> Family:
    """The network of that name; raises ConfigurationError where there is none."""
    parsed = parse(name)
    return parsed.family.of(workspace, parsed)


def network_to_train(workspace: Folder, name: str) -> TrainableFamily:
    """The network of that name, to be trained on; raises ConfigurationError where it cannot be."""
    found = network(workspace, name)
    if not isinstance(found, TrainableFamily):
        raise ConfigurationError(f"Backbone {name} cannot be fine-tuned: {found.fixed}.")
    return found


@dataclass(frozen=True)
class Precision:
    """What arithmetic is asked for, and pictures to judge it by."""

    name: str
    sample: Sample | None


def fingerprint(saved: Saved, precision: str, calibration_sha256: str) -> str:
    """What decides a vector, hashed: weights, graph, size, taps, preprocessing, precision.

    `calibration_sha256` is of the pictures that int8 was calibrated on.
    """
    parts = {
        "weights": saved.weights_sha256,
        "graph": saved.graph,
        "taps": saved.taps,
        "size": [saved.height, saved.width],
        "preprocessing": PREPROCESSING,
        "precision": precision,
        "calibration": calibration_sha256,
    }
    return json_sha256(parts)[:FINGERPRINT_DIGITS]


def _check_precision(precision: str, sample: Sample | None) -> None:
    if precision not in PRECISIONS:
        near = nearest(precision, PRECISIONS)
        raise ConfigurationError(f"There is no precision {precision!r}: did you mean {near}?")
    if precision == "int8" and sample is None:
        raise ConfigurationError(
            "Precision int8 is calibrated on your own pictures: name IMAGES to prepare it for."
        )


def _check_tensorflow(named: Family) -> None:
    if TENSORFLOW not in named.brings:
        return
    try:
        importlib.import_module("tensorflow")
    except ImportError as error:
        raise ConfigurationError(
            f"The workspace does not have backbone {named.name} yet, and preparing it needs "
            "TensorFlow: pip install 'linnaeus[train]', or prepare it from a machine that has it."
        ) from error


def _index_key(named: Family, precision: str) -> str:
    """A readable file name, different for whatever may have another fingerprint."""
    name = named.name
    parts = [named.key, named.identity(), name.size, name.middle, precision, PREPROCESSING]
    slug = re.sub(r"[^A-Za-z0-9]+", "-", "-".join(Path(name.network).parts[-2:]))
    return f"{slug}-{precision}-{json_sha256(parts)[:12]}"


def _make(
    workspace: Folder, network: Writable, precision: Precision, name: str | None = None
) -> BackboneSpec:
    with TemporaryDirectory(prefix="linnaeus-backbone-") as folder:
        files = Path(folder)
        saved = network.save(files)
        size = saved.height, saved.width
        pictures = None if precision.sample is None else precision.sample(*size)
        spec = _draft(saved, precision.name, pictures, name)
        known = store.find(workspace, spec.fingerprint)
        return known or store.publish(workspace, files, _with_engines(spec, files, pictures))


def _draft(
    saved: Saved, precision: str, pictures: NDArray[np.uint8] | None, name: str | None
) -> BackboneSpec:
    """Without a name it is called by its fingerprint."""
    calibration = [pictures] if precision == "int8" and pictures is not None else []
    hashed = fingerprint(saved, precision, arrays_sha256(calibration))
    return BackboneSpec(
        name=name or fine_tuned.name_of(hashed),
        fingerprint=hashed,
        height=saved.height,
        width=saved.width,
        embedding_size=saved.embedding_size,
        precision=precision,
        licence=saved.licence,
        preprocessing=PREPROCESSING,
        folder=str(ULID()),
        tuning=saved.tuning,
    )


def _with_engines(
    spec: BackboneSpec, files: Path, pictures: NDArray[np.uint8] | None
) -> BackboneSpec:
    """Make the files of the other engines, and describe what there is then."""
    from linnaeus.preparation.conversion import convert  # which need this package's specs
    from linnaeus.preparation.precision import reduce_precision

    unavailable = convert(files, spec)
    if spec.precision != "float32" and "openvino" in unavailable:
        raise ConfigurationError(
            f"Backbone {spec.name} cannot be had in {spec.precision}, which needs OpenVINO "
            f"({unavailable['openvino']}): use --precision float32."
        )
    agreement = {}
    if spec.precision != "float32" and pictures is not None:
        agreement = dataclasses.asdict(reduce_precision(files, spec, pictures))
    stored = {engine: stored_files(files, engine) for engine in ENGINES}
    return dataclasses.replace(
        spec,
        engines={engine: found for engine, found in stored.items() if found},
        unavailable=unavailable,
        agreement=agreement,
    )

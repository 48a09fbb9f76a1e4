"""Reduced precision: quantisation to int8, held against float32."""

import contextlib
import io
import logging
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linnaeus.backbones import BackboneSpec
from linnaeus.engines import Agreement, agreement, open_engine
from linnaeus.errors import ConfigurationError
from linnaeus.process import import_openvino

MODEL = "model.xml"

WEIGHTS = "model.bin"


def reduce_precision(files: Path, spec: BackboneSpec, pixels: NDArray[np.uint8]) -> Agreement:
    """Bring `openvino/` below `files` from float32 to `spec.precision` and measure it.

    Args:
        files: the backbone's folder, as `convert` left it.
        spec: its precision is `bfloat16` (the files stay as they are) or `int8`.
        pixels: `[N, height, width, 3]` of the user's own; int8 is calibrated on them.

    Raises:
        ConfigurationError: NNCF is not installed, or this CPU cannot compute so.
    """
    reference = _embed(files, replace(spec, precision="float32"), pixels)
    if spec.precision == "int8":
        quantise(files / "openvino", pixels)
    return agreement(reference, _embed(files, spec, pixels))


def quantise(folder: Path, pixels: NDArray[np.uint8]) -> None:
    """Quantise the OpenVINO network in `folder` to int8 by NNCF, calibrated on `pixels`.

    Raises ConfigurationError when NNCF is not installed.
    """
    openvino = import_openvino()
    nncf = _import_nncf()
    network = openvino.Core().read_model(folder / MODEL)
    batches = [row[np.newaxis] for row in pixels]
    # NNCF draws its progress on the terminal.
    with contextlib.redirect_stdout(io.StringIO()):
        quantised = nncf.quantize(network, nncf.Dataset(batches), subset_size=len(batches))
    # The network's weights are mapped from the file that this replaces.
    with TemporaryDirectory(dir=folder) as scratch:
        openvino.save_model(quantised, str(Path(scratch) / MODEL), compress_to_fp16=False)
        for name in (WEIGHTS, MODEL):
            (Path(scratch) / name).replace(folder / name)


def _import_nncf() -> Any:
    try:
        import nncf
    except ImportError as error:
        raise ConfigurationError(
            "Precision int8 needs NNCF, which is not installed: pip install 'linnaeus[int8]'."
        ) from error
    nncf.set_log_level(logging.ERROR)
    return nncf


def _embed(files: Path, spec: BackboneSpec, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    with contextlib.closing(open_engine(files, spec, "openvino")) as engine:
        return engine.embed(pixels)

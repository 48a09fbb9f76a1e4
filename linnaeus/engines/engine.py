"""What runs a backbone's network: one small interface over OpenVINO, LiteRT and TensorFlow.

Importing this package imports none of the three; `open_engine` imports the one it opens.
"""

import importlib
import importlib.util
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from linnaeus.errors import ConfigurationError

if TYPE_CHECKING:
    from linnaeus.backbones import BackboneSpec


K = TypeVar("K")


class Engine(Protocol):
    """A backbone that is loaded and ready: uint8 pixels in, float32 embeddings out.

    An engine may be used from several threads at once: every `embed` and `stream` call has
    its own images in flight. Pixels are `[height, width, 3]` of the backbone's input size, RGB;
    others raise ValueError. The same pixels give the same vector whatever else is in the batch.
    """

    name: str

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed `[N, height, width, 3]` as `[N, embedding_size]`, in order."""

    def stream(
        self, images: Iterable[tuple[K, NDArray[np.uint8]]]
    ) -> Iterator[tuple[K, NDArray[np.float32]]]:
        """Embed one image after the other: yield each key with its `[embedding_size]`, any order.

        `images` is pulled in the caller's thread, lazily, with a bounded number in flight; it
        must not wait for an embedding before it gives the next image. Its exceptions come out
        at once. Closing the iterator early waits for the few images in flight and no more.
        """

    def close(self) -> None:
        """Free the network; the engine is not used again."""


@dataclass(frozen=True)
class Tuning:
    """How much of the machine an engine takes; None lets it choose.

    `streams` and `requests` are OpenVINO's: networks that run side by side, and images in
    flight. Batch sizes belong to the engines.
    """

    threads: int | None = None
    streams: int | None = None
    requests: int | None = None


@dataclass(frozen=True)
class _Kind:
    """An engine that could be opened: what it needs installed and stored."""

    title: str
    package: str
    file: str
    extra: str

    def installed(self) -> bool:
        return importlib.util.find_spec(self.package) is not None


_KINDS = {
    "openvino": _Kind("OpenVINO", "openvino", "openvino/model.xml", "worker"),
    "litert": _Kind("LiteRT", "ai_edge_litert", "litert/model.tflite", "train"),
    "tensorflow": _Kind("TensorFlow", "tensorflow", "tensorflow/saved_model.pb", "train"),
}


def open_engine(
    files: Path, spec: "BackboneSpec", engine: str = "auto", tuning: Tuning | None = None
) -> Engine:
    """Load a prepared backbone from its local folder.

    Args:
        files: the backbone's folder, as `backbones.local_files` gives it.
        spec: what its `spec.json` says.
        engine: `openvino`, `litert`, `tensorflow` or `auto`: TensorFlow where there is a GPU,
            else OpenVINO, else LiteRT, of those that are installed and prepared.
        tuning: threads and requests; by default all processors this process may use.

    Raises:
        ConfigurationError: the engine is unknown, not installed, has no files in this backbone
            or cannot compute in the backbone's precision on this machine.
    """
    name = _choose(files, spec) if engine == "auto" else engine
    problem = _problem(name, files, spec)
    if problem:
        raise ConfigurationError(problem)
    module = importlib.import_module(f"linnaeus.engines.{name}")
    opened: Engine = module.open_backbone(files, spec, tuning or Tuning())
    return opened


def _choose(files: Path, spec: "BackboneSpec") -> str:
    """The first engine, in the order of preference, that can be opened."""
    order = ["openvino", "litert", "tensorflow"]
    if has_gpu():
        order.insert(0, "tensorflow")
    problems = {name: _problem(name, files, spec) for name in order}
    usable = [name for name in order if problems[name] is None]
    if usable:
        return usable[0]
    reasons = "; ".join(str(problem) for problem in problems.values())
    raise ConfigurationError(f"No engine can run backbone {spec.name}: {reasons}")


def _problem(name: str, files: Path, spec: "BackboneSpec") -> str | None:
    """Why an engine cannot be opened, with the remedy, or None."""
    kind = _KINDS.get(name)
    if kind is None:
        return f"There is no engine {name!r}: use auto, {', '.join(_KINDS)}."
    if spec.precision != "float32" and name != "openvino":
        return (
            f"{kind.title} computes in float32, backbone {spec.name} is {spec.precision}: "
            "use the engine openvino."
        )
    if not (files / kind.file).is_file():
        reason = spec.unavailable.get(name, f"{files / kind.file} is missing")
        return f"Backbone {spec.name} is not prepared for {kind.title}: {reason}"
    if not kind.installed():
        return f"{kind.title} is not installed: pip install 'linnaeus[{kind.extra}]'."
    return None


def check_pixels(pixels: NDArray[np.uint8], shape: tuple[int, int, int]) -> None:
    """Refuse an image that is not uint8 `[height, width, 3]` of the network; ValueError."""
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise ValueError(
            f"The network takes uint8 {list(shape)}, not {pixels.dtype} {list(pixels.shape)}."
        )


def has_gpu() -> bool:
    """Whether TensorFlow could use an NVIDIA GPU; imports it only where there is a driver."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}
    driver = Path("/proc/driver/nvidia/version").exists()
    if hidden or not driver or not _KINDS["tensorflow"].installed():
        return False
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))

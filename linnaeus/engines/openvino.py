"""OpenVINO on a CPU: the fastest engine there, one image a request.

One image a request is as fast as a batch or faster, gives bit-identical vectors however
images are grouped, and a bad image has no neighbours.

There are no Python callbacks, so no `AsyncInferQueue` with one: OpenVINO's callback thread takes
the interpreter lock once more after a request counts as done, and a network freed at that moment,
or an interpreter that ends, hangs or aborts. Waiting for the oldest request costs nothing.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from linnaeus.backbones import BackboneSpec
from linnaeus.engines.batches import embed_in_order
from linnaeus.engines.engine import Tuning, check_pixels
from linnaeus.engines.memory import is_out_of_memory, too_large
from linnaeus.errors import ConfigurationError
from linnaeus.process import import_openvino, processors

K = TypeVar("K")


def open_backbone(files: Path, spec: BackboneSpec, tuning: Tuning) -> "OpenVinoEngine":
    """Load `openvino/model.xml` of a backbone's folder."""
    return OpenVinoEngine(files / "openvino" / "model.xml", spec, tuning)


class OpenVinoEngine:
    """A network compiled for this CPU; see `linnaeus.engines.Engine`."""

    name = "openvino"

    def __init__(self, model: Path, spec: BackboneSpec, tuning: Tuning) -> None:
        core = import_openvino().Core()
        precision = _precision_hint(core, spec)
        network = core.read_model(model)
        self._backbone = spec.name
        self._shape = (spec.height, spec.width, 3)
        self._size = spec.embedding_size
        network.reshape([1, *self._shape])
        self._compiled = core.compile_model(network, "CPU", _properties(precision, tuning))
        optimal: int = self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        # Twice, so that a network finds its next image waiting while Python handles a result.
        self._requests = tuning.requests or 2 * optimal

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed `[N, height, width, 3]` as `[N, embedding_size]`, in order."""
        return embed_in_order(self.stream, pixels, self._size)

    def stream(
        self, images: Iterable[tuple[K, NDArray[np.uint8]]]
    ) -> Iterator[tuple[K, NDArray[np.float32]]]:
        """Embed images as they come; see `Engine.stream`.

        Raises:
            EngineError: there is not enough memory; a request has one image, so none is halved.
        """
        try:
            yield from self._stream(images)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise too_large(self._backbone) from error
            raise

    def _stream(
        self, images: Iterable[tuple[K, NDArray[np.uint8]]]
    ) -> Iterator[tuple[K, NDArray[np.float32]]]:
        idle = [self._compiled.create_infer_request() for _ in range(self._requests)]
        running: deque[tuple[K, Any]] = deque()
        try:
            for key, pixels in images:
                check_pixels(pixels, self._shape)
                if idle:
                    running.append((key, _start(idle.pop(), pixels)))
                    continue
                finished, request = running.popleft()
                row = _result(request)
                running.append((key, _start(request, pixels)))
                yield finished, row
            while running:
                finished, request = running.popleft()
                yield finished, _result(request)
        finally:
            for _, request in running:
                request.wait()

    def close(self) -> None:
        """Free the network; the engine is not used again."""
        del self._compiled


def _start(request: Any, pixels: NDArray[np.uint8]) -> Any:
    """Start on a copy, so that the caller may use its array again."""
    request.get_input_tensor().data[0] = pixels
    request.start_async()
    return request


def _result(request: Any) -> NDArray[np.float32]:
    """Wait for `[embedding_size]`; a copy, since the request's next image overwrites it."""
    request.wait()
    row: NDArray[np.float32] = request.get_output_tensor().data[0].copy()
    return row


def _precision_hint(core: Any, spec: BackboneSpec) -> str:
    """OpenVINO's name for the arithmetic of what is not quantised."""
    if spec.precision != "bfloat16":
        return "f32"
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ConfigurationError(
            f"Backbone {spec.name} computes in bfloat16, which this CPU has no instructions for: "
            "use --precision float32, or a CPU with AVX512_BF16 or AMX."
        )
    return "bf16"


def _properties(precision: str, tuning: Tuning) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        # The default depends on the CPU; the vectors must not.
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": tuning.threads or processors(),
        # Processes that share a machine would all pin their threads to the same first cores.
        "ENABLE_CPU_PINNING": False,
    }
    if tuning.streams:
        properties["NUM_STREAMS"] = tuning.streams
    return properties

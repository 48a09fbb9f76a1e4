"""A model that is fed only what its signatures take."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.framework import types_pb2

from serving.grpc_status import StatusError, invalid_argument
from serving.inference.signatures import shape_text, type_text
from serving.models.servable import Feeds, Servable

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""Names of tensors, and the shapes of what is fed to them."""

Infer = Callable[[Shapes, tuple[str, ...]], Sequence[tf.TensorShape]]
"""What a graph's own shape functions make of shapes; a `StatusError` if they refuse them."""

_ODD = (2, 3, 5, 7, 11, 13)


class CheckedModel:
    """A `Servable` that holds what is fed to another one to its SignatureDefs.

    TensorFlow's kernels rely on what its shape functions saw when a graph was made: other shapes
    may end the process. What a signature leaves open, those functions judge anew.
    """

    def __init__(self, model: Servable, infer: Infer) -> None:
        self.signatures = model.signatures
        self._model = model
        self._infer = infer
        self._inputs = {
            info.name: (name, info.dtype, tf.TensorShape(info.tensor_shape))
            for name, signature in model.signatures.items()
            for info in signature.inputs.values()
        }

    def run(
        self, feeds: Feeds, fetches: Sequence[str], timeout_seconds: float | None = None
    ) -> list[NDArray[Any]]:
        """As `Servable.run`.

        Raises:
            StatusError: INVALID_ARGUMENT, a type or a shape is none that the signature takes.
        """
        self._check_types(feeds)
        self._check_shapes(feeds, tuple(fetches))
        return self._model.run(feeds, fetches, timeout_seconds)

    def _check_types(self, feeds: Feeds) -> None:
        for position, name in enumerate(sorted(feeds)):
            wanted, sent = types_pb2.DataType.Name(self._inputs[name][1]), type_text(feeds[name])
            if sent != wanted:
                wanted, sent = (text.removeprefix("DT_").lower() for text in (wanted, sent))
                raise invalid_argument(
                    f"Expects arg[{position}] to be {wanted} but {sent} is provided"
                )

    def _check_shapes(self, feeds: Feeds, fetches: tuple[str, ...]) -> None:
        is_open = False
        for name, array in feeds.items():
            signature, _, shape = self._inputs[name]
            fits = shape.is_compatible_with(array.shape)
            if not fits and not self._is_elementwise(feeds, fetches):
                # As `tfrt/saved_model/saved_model.cc` says it.
                expected = ",".join("?" if size is None else str(size) for size in shape)
                raise invalid_argument(
                    f"signature {signature} input shape is wrong, expected : [{expected}],"
                    f" actual: {shape_text(array)}"
                )
            is_open |= not fits or not shape[1:].is_fully_defined()
        if is_open:
            self._infer(tuple((name, array.shape) for name, array in feeds.items()), fetches)

    def _is_elementwise(self, feeds: Iterable[str], fetches: tuple[str, ...]) -> bool:
        """Whether shapes go through unchanged, as through `x / 2 + 2`, whatever they are."""
        try:
            inferred = self._infer(tuple((name, _ODD) for name in feeds), fetches)
        except StatusError:
            return False
        return all(shape == _ODD for shape in inferred)

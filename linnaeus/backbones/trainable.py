"""A network whose weights can be trained on: what fine-tuning asks of a kind of backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Extent:
    """How much of a network is trained, and where it ends."""

    layers: int | None = None
    """How many of the last layers, pooling not counted; None: all."""
    flatten: bool = False
    """Whether it ends with every value of its last layer instead of with their averages."""


@dataclass(frozen=True)
class Trainable:
    """A network in two parts, of which the second is trained: `trained(frozen(pixels), ...)`."""

    frozen: Callable[[tf.Tensor], tf.Tensor]
    """uint8 `[N, H, W, 3]` to what the second part takes; training does not change it."""
    frozen_shape: tuple[int, ...] | None
    """Shape of what the first part gives of an image; None where it only normalises pixels."""
    trained: Callable[[tf.Tensor, bool], tf.Tensor]
    """To float32 `[N, D]`; the second argument says whether it is being trained."""
    learned: Sequence[tf.Variable]
    """What gradients change."""
    variables: Sequence[tf.Variable]
    """All of the network's, the learned ones among them."""
    changed: Sequence[tf.Variable]
    """What training changes: the learned ones, and perhaps statistics."""
    parts: Any
    """The trackable that owns the variables, for `saved_model.write`."""
    height: int
    width: int
    graph: str
    """Version of the definition that makes a network of the weights."""
    licence: str
    taps: str = ""
    penalties: Sequence[Callable[[], tf.Tensor]] = ()
    """Regularisation that the network brings along, each added to the loss."""

    def embed(self, pixels: tf.Tensor) -> tf.Tensor:
        """Both parts as they compute after training: uint8 `[N, H, W, 3]` to float32 `[N, D]`."""
        return self.trained(self.frozen(pixels), False)

    @property
    def values(self) -> int:
        """D: how many values `trained` gives of an image."""
        import tensorflow as tf

        pixels = tf.TensorSpec([None, self.height, self.width, 3], tf.uint8)
        return int(tf.function(self.embed).get_concrete_function(pixels).output_shapes[-1])

    def arrays(self) -> list[NDArray[Any]]:
        """All variables' values, in their order."""
        return [variable.numpy() for variable in self.variables]

"""Keras networks of feature maps: pooled to embeddings, or cut in two for fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnaeus.backbones import TENSORFLOW, Extent, Saved, Trainable
from linnaeus.backbones.families import saved_model
from linnaeus.errors import ConfigurationError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


@dataclass(frozen=True)
class FeatureMaps:
    """A network up to its feature maps."""

    image: Any
    """The Keras input: normalised pixels `[N, H, W, 3]`."""
    middle: tuple[Any, ...]
    """Maps of middle layers that are pooled, too."""
    last: Any
    normalise: Callable[[tf.Tensor], tf.Tensor]
    """float32 pixels from 0 to 255 to what `image` takes."""

    @property
    def height(self) -> int:
        """Of the input, in pixels."""
        return int(self.image.shape[1])

    @property
    def width(self) -> int:
        """Of the input, in pixels."""
        return int(self.image.shape[2])

    def pooled(self) -> keras.Model:
        """Normalised pixels to the averages of each map, those of the middle ones first."""
        import keras

        averages = [keras.layers.GlobalAveragePooling2D()(x) for x in (*self.middle, self.last)]
        joined = keras.layers.Concatenate()(averages) if self.middle else averages[0]
        return keras.Model(self.image, joined)

    def flattened(self) -> keras.Model:
        """Normalised pixels to every value of the last map."""
        import keras

        return keras.Model(self.image, keras.layers.Flatten()(self.last))

    def normalised(self, pixels: tf.Tensor) -> tf.Tensor:
        """What the network takes, of uint8 `[N, H, W, 3]`."""
        import tensorflow as tf

        return self.normalise(tf.cast(pixels, tf.float32))

    @property
    def taps(self) -> str:
        """Which outputs make the embedding, beside the last one."""
        return "mid" if self.middle else ""

    def write(self, to: Path, about: About, weights_sha256: str) -> Saved:
        """Write the pooled network as a SavedModel below a backbone's folder."""
        network = self.pooled()

        def embed(pixels: tf.Tensor) -> tf.Tensor:
            return network(self.normalised(pixels), training=False)

        owned = saved_model.variables(network)
        size = self.height, self.width
        values = saved_model.write(embed, owned, size, to / TENSORFLOW)
        return Saved(weights_sha256, about.graph, self.taps, *size, values, licence=about.licence)


@dataclass(frozen=True)
class About:
    """What is to be said of a network that training leaves as it is."""

    name: str
    graph: str
    licence: str


def trainable(maps: FeatureMaps, extent: Extent, about: About) -> Trainable:
    """The network, cut before the first layer that is trained.

    It computes throughout as it does when it embeds: batch normalisation keeps its mean and
    variance (its scale and offset are trained where its layer is), and nothing is dropped out.
    So small batches do no harm, and training and embedding see the same network.

    Raises ConfigurationError where the network has fewer layers, or `+mid` would be flattened.
    """
    import keras
    import tensorflow as tf

    if extent.flatten and maps.middle:
        raise ConfigurationError(f"Backbone {about.name}: flatten takes no +mid, leave it out.")
    network = maps.flattened() if extent.flatten else maps.pooled()
    layers = _last_layers(maps, extent.layers, about.name)
    cut = _cut(network, layers)
    before, after = keras.Model(maps.image, cut), keras.Model(cut, network.output)
    learned = [weight.value for layer in layers for weight in layer.trainable_weights]

    def frozen(pixels: tf.Tensor) -> tf.Tensor:
        return before(maps.normalised(pixels), training=False)

    def trained(x: tf.Tensor, training: bool) -> tf.Tensor:
        del training
        return tf.cast(after(x, training=False), tf.float32)

    variables = saved_model.variables(network)
    return Trainable(
        frozen=frozen,
        frozen_shape=None if cut is maps.image else cut.shape[1:],
        trained=trained,
        learned=learned,
        variables=variables,
        changed=learned,
        parts=variables,
        height=maps.height,
        width=maps.width,
        graph=about.graph,
        licence=about.licence,
        taps=maps.taps,
    )


def bottlenecks(model: keras.Model) -> Iterator[Any]:
    """Feature maps past which nothing earlier is used, in order; padded ones are left out."""
    import keras

    nodes = [operation._inbound_nodes[0] for operation in model.operations]
    made_at = {id(x): place for place, node in enumerate(nodes) for x in node.output_tensors}
    used_until = {
        made_at[id(x)]: place for place, node in enumerate(nodes) for x in node.input_tensors
    }
    needed_until = 0
    for place, node in enumerate(nodes):
        x = node.output_tensors[0]
        padded = isinstance(node.operation, keras.layers.ZeroPadding2D)
        if needed_until <= place and len(x.shape) == 4 and not padded:
            yield x
        needed_until = max(needed_until, used_until.get(place, 0))


def _last_layers(maps: FeatureMaps, count: int | None, name: str) -> list[keras.Layer]:
    import keras

    layers: list[keras.Layer] = keras.Model(maps.image, maps.last).layers
    if count is None:
        return layers
    if count > len(layers):
        raise ConfigurationError(
            f"Backbone {name} has {len(layers)} layers, not {count}: train fewer, or all of them."
        )
    return layers[len(layers) - count :]


def _cut(network: keras.Model, trained: list[keras.Layer]) -> Any:
    """The last bottleneck before any layer that is trained; at the earliest the image itself."""
    learning = {id(layer) for layer in trained if layer.trainable_weights}
    before: set[int] = set()
    for operation in network.operations:
        if id(operation) in learning:
            break
        before.update(id(x) for x in operation._inbound_nodes[0].output_tensors)
    *_, cut = (x for x in bottlenecks(network) if id(x) in before)
    return cut

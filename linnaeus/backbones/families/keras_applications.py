"""Networks of `keras.applications` without their top, average-pooled."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnaeus.backbones import (
    BackboneName,
    Extent,
    Saved,
    Trainable,
    TrainableFamily,
    arrays_sha256,
    file_sha256,
)
from linnaeus.backbones.families import downloads
from linnaeus.backbones.families.keras_catalogue import APPLICATIONS, Application
from linnaeus.backbones.families.keras_graph import About, FeatureMaps, bottlenecks, trainable
from linnaeus.errors import ConfigurationError

if TYPE_CHECKING:
    import keras

GRAPH_VERSION = "1"
"""Changes when equal weights would give other vectors."""
MIDDLE_RESOLUTIONS = 2


@dataclass(frozen=True)
class KerasApplication(TrainableFamily):
    """A published network; its `preprocess_input` becomes a part of the graph."""

    key = "keras"
    networks = tuple(APPLICATIONS)
    prefix = "keras:"
    takes_weights = True
    licence = "as its authors released the weights: https://keras.io/api/applications"

    @property
    def application(self) -> Application:
        """Where Keras has it."""
        return APPLICATIONS[self.name.network]

    def identity(self) -> str:
        """The network, with the local file's hash or that the weights are the published ones."""
        graph = f"{self.name.network}-{GRAPH_VERSION}"
        path = self.name.weights
        if path is None:
            return f"imagenet-{graph}"
        try:
            return f"{file_sha256(path)}-{graph}"
        except OSError as error:
            raise ConfigurationError(
                f"The weights {path} cannot be read: {error.strerror}."
            ) from error

    def save(self, to: Path) -> Saved:
        """Write the SavedModel; weights that cannot be had raise ConfigurationError."""
        features = self._features()
        weights_sha256 = arrays_sha256(features.get_weights())
        return self._maps(features).write(to, self._about, weights_sha256)

    def trainable(self, extent: Extent) -> Trainable:
        """Its layers are those without the top; see `keras_graph.trainable`."""
        return trainable(self._maps(self._features()), extent, self._about)

    @property
    def _about(self) -> About:
        return About(str(self.name), f"keras-{self.name.network}-{GRAPH_VERSION}", self.licence)

    def _features(self) -> keras.Model:
        return _without_top(self.name, self.application, self.name.size or self.application.size)

    def _maps(self, features: keras.Model) -> FeatureMaps:
        import keras

        module = getattr(keras.applications, self.application.module)
        middle = tuple(_middle(features, self.name)) if self.name.middle else ()
        return FeatureMaps(features.input, middle, features.output, module.preprocess_input)


def _without_top(name: BackboneName, application: Application, size: int) -> keras.Model:
    import keras

    function = getattr(keras.applications, application.function)
    weights = "imagenet" if name.weights is None else None
    try:
        with downloads.bounded():
            model = function(include_top=False, weights=weights, input_shape=(size, size, 3))
    except ValueError as error:
        raise ConfigurationError(
            f"Backbone {name} cannot be built at {size} pixels: {_first_line(error)}"
        ) from error
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise ConfigurationError(
            f"The ImageNet weights of {name.network} cannot be downloaded "
            f"({_first_line(error)}): give a file, keras:{name.network}?weights=/path/notop.h5, "
            "or take efficientnet-lite0, which needs no internet."
        ) from error
    if name.weights is not None:
        _load_weights(model, name.weights)
    return model


def _load_weights(model: keras.Model, path: Path) -> None:
    try:
        with warnings.catch_warnings():
            # Keras only warns of layers that the file leaves as they were made, at random.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(str(path))
    except (ValueError, OSError, KeyError, UserWarning) as error:
        raise ConfigurationError(
            f"The weights {path} do not fit {model.name} without its top layers: "
            f"{_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _middle(features: keras.Model, name: BackboneName) -> list[Any]:
    """The last map of each of the two resolutions before the final one.

    Only maps that the whole network passes through count, so that none is a mere branch, and
    only those below a quarter of the input's resolution, which hold more than edges.
    """
    side = features.input.shape[1]
    last_of = {x.shape[1:3]: x for x in bottlenecks(features) if 4 * x.shape[1] < side}
    last_of.pop(features.output.shape[1:3], None)
    if not last_of:
        raise ConfigurationError(
            f"Backbone {name}: {name.network} has no middle layer that all of it passes "
            "through, leave +mid out."
        )
    return list(last_of.values())[-MIDDLE_RESOLUTIONS:]

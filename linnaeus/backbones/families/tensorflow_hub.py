"""TensorFlow Hub modules and local SavedModels, of the TF2 and the TF1 style.

They take float32 pictures in [0, 1], as Hub's image modules agree on, or uint8, and give a vector
an image. Source: "Common SavedModel APIs for images" on tensorflow.org/hub.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnaeus.backbones import (
    TENSORFLOW,
    BackboneName,
    Extent,
    Saved,
    Trainable,
    TrainableFamily,
    absolute,
    parse_size,
    tree_sha256,
)
from linnaeus.backbones.families import downloads, saved_model
from linnaeus.errors import ConfigurationError

if TYPE_CHECKING:
    import tensorflow as tf

GRAPH_VERSION = "1"
"""Changes when equal weights would give other vectors."""
GRAPH = f"hub-{GRAPH_VERSION}"
PROTO = "saved_model.pb"
SIGNATURES = ("image_feature_vector", "default", "serving_default")
"""The signatures that may give a feature vector, the best first."""
OUTPUTS = ("default", "feature_vector", "embedding")
WHITE = 255.0

_PLACE = re.compile(r"(?P<network>.+?)(?:@(?P<size>\d+))?(?:\+(?P<taps>mid))?")
_OPEN = re.compile(r"(?i)http://(?!(?:127\.0\.0\.1|localhost|\[::1\])[:/])")


@dataclass(frozen=True)
class HubModule(TrainableFamily):
    """A module by its handle, or the folder of a SavedModel."""

    key = "hub"
    others = "a TensorFlow Hub handle (https://…), a SavedModel's folder (written with a /)"
    licence = "as its publisher states"

    @classmethod
    def parse(cls, text: str) -> BackboneName | None:
        """Folders become absolute.

        Only a trailing `@DIGITS` and `+mid` are read as size and taps, since `@`, `+` and `?` may
        be part of a handle or a folder.
        """
        match = _PLACE.fullmatch(text)
        if not match or not ("://" in text or text.startswith(("/", "./", "../", "~"))):
            return None
        network, size = match["network"], match["size"]
        if "://" not in network:
            network = str(absolute(network))
        if _OPEN.match(network):
            raise ConfigurationError(
                f"Backbone {text!r}: on its way over http:// anyone could replace it, and a "
                "network is a program: name it by https://."
            )
        checked = None if size is None else parse_size(text, size)
        return BackboneName(cls, network, checked, match["taps"] is not None)

    @property
    def folder(self) -> Path | None:
        """The local folder; None for a handle."""
        return None if "://" in self.name.network else Path(self.name.network)

    def identity(self) -> str:
        """The folder's hash, or the handle, which carries its version."""
        if self.folder is None:
            return f"{self.name.network}-{GRAPH_VERSION}"
        _check_saved_model(self.folder)
        return f"{tree_sha256(self.folder)}-{GRAPH_VERSION}"

    def save(self, to: Path) -> Saved:
        """Write the SavedModel; a module that is no feature vector raises ConfigurationError."""
        folder = self._checked_folder()
        module = _load(folder)
        size = _input_size(self.name, module.shape)
        values = saved_model.write(_embedding(module, size), module.parts, size, to / TENSORFLOW)
        return Saved(
            weights_sha256=tree_sha256(folder),
            graph=GRAPH,
            taps="",
            height=size[0],
            width=size[1],
            embedding_size=values,
            licence=self._stated,
        )

    def trainable(self, extent: Extent) -> Trainable:
        """The whole module, called with `training=True` while it learns, as its makers meant it.

        So its batch normalisation and its dropout do then what they did when it was first trained.
        Raises ConfigurationError unless it is a reusable TF2 module with `trainable_variables`, and
        where only some layers are asked for, or their unpooled values. Source: "Reusable
        SavedModels" on tensorflow.org/hub.
        """
        import tensorflow as tf

        self._check_whole(extent)
        module = _load(self._checked_folder())
        loaded = module.parts
        learned = list(getattr(loaded, "trainable_variables", ()))
        if module.train is None or not learned:
            raise ConfigurationError(
                f"The module {self.name.network} cannot be fine-tuned: it has no trainable "
                "variables to call with. Take a TF2 feature vector that says it can be."
            )
        size = _input_size(self.name, module.shape)
        embed = _embedding(module, size)
        learn = _embedding(dataclasses.replace(module, call=module.train), size)
        variables = list(getattr(loaded, "variables", learned))

        def trained(pixels: tf.Tensor, training: bool) -> tf.Tensor:
            return learn(pixels) if training else embed(pixels)

        return Trainable(
            frozen=tf.identity,
            frozen_shape=None,
            trained=trained,
            learned=learned,
            variables=variables,
            changed=variables,
            parts=loaded,
            height=size[0],
            width=size[1],
            graph=GRAPH,
            licence=self._stated,
            penalties=list(getattr(loaded, "regularization_losses", ())),
        )

    def _check_whole(self, extent: Extent) -> None:
        if extent.layers is not None:
            raise ConfigurationError(
                f"The module {self.name.network} has no layers to count: fine-tune all of it."
            )
        if extent.flatten:
            raise ConfigurationError(
                f"The module {self.name.network} gives a vector, which cannot be flattened: "
                "leave the pooling to the backbone."
            )

    def _checked_folder(self) -> Path:
        if self.name.middle:
            raise ConfigurationError(
                f"Backbone {self.name}: a module's middle layers are out of reach, leave +mid out."
            )
        folder = self.folder or _download(self.name.network)
        _check_saved_model(folder)
        return folder

    @property
    def _stated(self) -> str:
        return f"{self.licence}: {self.name.network}"


@dataclass(frozen=True)
class _Module:
    """A loaded module: `call` takes `[N, H, W, 3]` of `dtype`, `shape` is its input's."""

    call: Callable[[tf.Tensor], Any]
    shape: list[int | None]
    dtype: Any
    parts: Any
    train: Callable[[tf.Tensor], Any] | None = None
    """The call while it is trained; None where it has none."""


def _check_saved_model(folder: Path) -> None:
    if not folder.is_dir():
        raise ConfigurationError(f"There is no folder {folder}: give a SavedModel's folder.")
    if not (folder / PROTO).exists():
        raise ConfigurationError(f"{folder} is not a SavedModel: it has no {PROTO}.")


def _download(handle: str) -> Path:
    try:
        with downloads.bounded():
            import tensorflow_hub

            return Path(tensorflow_hub.resolve(handle))
    except Exception as error:  # URLError, HTTPError, TarError, or TensorFlow's own
        reason = str(error).strip().partition("\n")[0]
        raise ConfigurationError(
            f"The module {handle} cannot be downloaded ({reason}): check the handle and the "
            "internet connection, or download it elsewhere and give its folder."
        ) from error


def _load(folder: Path) -> _Module:
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        proto = SavedModel.FromString((folder / PROTO).read_bytes())
    except DecodeError as error:
        raise ConfigurationError(f"{folder} is not a SavedModel: {PROTO} is damaged.") from error
    graphs = proto.meta_graphs
    try:
        if any(graph.HasField("object_graph_def") for graph in graphs):
            return _load_v2(folder)
        return _load_v1(folder, graphs)
    except (tf.errors.OpError, OSError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigurationError(f"The module in {folder} cannot be loaded: {reason}") from error


def _load_v2(folder: Path) -> _Module:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    module = _by_call(loaded) or _by_signature(loaded)
    if module is None:
        raise _not_of_pictures(folder)
    return module


def _by_call(loaded: Any) -> _Module | None:
    """A reusable module, called as it would be for inference."""
    for function in getattr(loaded.__call__, "concrete_functions", ()) if callable(loaded) else ():
        spec = _picture(function.structured_input_signature[0])
        if spec is not None:
            told = "training" in function.function_type.parameters
            call, train = (
                functools.partial(loaded, training=training) if told else loaded
                for training in (False, True)
            )
            return _Module(call, spec.shape.as_list(), spec.dtype, loaded, train)
    return None


def _by_signature(loaded: Any) -> _Module | None:
    for name in SIGNATURES:
        signature = loaded.signatures.get(name)
        inputs = signature.structured_input_signature[1] if signature else {}
        spec = _picture(inputs.values()) if len(inputs) == 1 else None
        if spec is not None:
            call = _named(signature, *inputs)
            return _Module(call, spec.shape.as_list(), spec.dtype, loaded)
    return None


def _named(signature: Any, key: str) -> Callable[[tf.Tensor], Any]:
    return lambda x: signature(**{key: x})


def _load_v1(folder: Path, graphs: Iterable[Any]) -> _Module:
    """A TF1 module with its variables frozen, since its reference variables cannot be saved again.

    A frozen one also converts for every engine.
    """
    import tensorflow as tf

    graph = min(graphs, key=lambda graph: "train" in graph.meta_info_def.tags)
    tags = list(graph.meta_info_def.tags)
    signature = _v1_signature(folder, graph.signature_def)
    (given,) = signature.inputs.values()
    result = _chosen(folder, signature.outputs)
    shape = tf.TensorShape(given.tensor_shape)
    dtype = tf.as_dtype(given.dtype)
    frozen = _freeze(folder, tags, result.name)

    def imported(x: Any) -> Any:
        return tf.graph_util.import_graph_def(frozen, {given.name: x}, [result.name], name="")[0]

    call = tf.compat.v1.wrap_function(imported, [tf.TensorSpec(shape, dtype)])
    return _Module(call, shape.as_list(), dtype, call)


def _v1_signature(folder: Path, signatures: Mapping[str, Any]) -> Any:
    import tensorflow as tf

    for name in SIGNATURES:
        if name in signatures and len(signatures[name].inputs) == 1:
            (given,) = signatures[name].inputs.values()
            spec = tf.TensorSpec(tf.TensorShape(given.tensor_shape), tf.as_dtype(given.dtype))
            if _picture([spec]) is not None:
                return signatures[name]
    raise _not_of_pictures(folder)


def _freeze(folder: Path, tags: list[str], tensor: str) -> Any:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session() as session:
        v1.saved_model.load(session, tags, str(folder))
        node = tensor.partition(":")[0]
        return v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), [node])


def _picture(specs: Iterable[Any]) -> Any:
    """The first of the specs if it takes pictures, else None."""
    import tensorflow as tf

    spec = next(iter(specs), None)
    if not isinstance(spec, tf.TensorSpec) or spec.dtype not in (tf.float32, tf.uint8):
        return None
    return spec if spec.shape.rank == 4 and spec.shape[3] in (3, None) else None


def _not_of_pictures(folder: Path) -> ConfigurationError:
    return ConfigurationError(
        f"The module in {folder} takes no pictures: it needs a call or one of the signatures "
        f"{', '.join(SIGNATURES)} with one input, float32 or uint8 [N, H, W, 3]."
    )


def _chosen(folder: Path | str, outputs: Mapping[str, Any]) -> Any:
    for name in OUTPUTS:
        if name in outputs:
            return outputs[name]
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    raise ConfigurationError(
        f"The module {folder} has several outputs, {', '.join(sorted(outputs))}: "
        f"one has to be called {' or '.join(OUTPUTS)}."
    )


def _input_size(name: BackboneName, shape: list[int | None]) -> tuple[int, int]:
    height, width = shape[1:3]
    if height is None or width is None:
        if name.size is None:
            raise ConfigurationError(
                f"The module {name} takes pictures of any size: say one, such as {name}@224."
            )
        return height or name.size, width or name.size
    if name.size is not None and (height, width) != (name.size, name.size):
        raise ConfigurationError(
            f"The module {name.network} takes pictures of {height}x{width} only: "
            f"leave @{name.size} out."
        )
    return height, width


def _embedding(module: _Module, size: tuple[int, int]) -> Callable[[tf.Tensor], tf.Tensor]:
    """The module as a function of uint8 pixels."""
    import tensorflow as tf

    def embed(pixels: Any) -> Any:
        x = pixels if module.dtype == tf.uint8 else tf.cast(pixels, tf.float32) / WHITE
        result = module.call(tf.ensure_shape(x, [None, *size, 3]))
        if isinstance(result, Mapping):
            result = _chosen("", result)
        return _vector(result)

    return embed


def _vector(result: Any) -> Any:
    import tensorflow as tf

    shape = result.shape
    if shape.rank == 4 and shape[1:3] == [1, 1]:
        result = tf.squeeze(result, [1, 2])
    if result.shape.rank != 2 or result.shape[-1] is None:
        raise ConfigurationError(
            f"The module gives {shape}, not a vector an image: take its feature-vector form."
        )
    return tf.cast(result, tf.float32)

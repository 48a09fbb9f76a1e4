"""Modules made here by hand, in each style that TensorFlow Hub has had."""

import contextlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linnaeus.backbones import Extent, Saved, local_files
from linnaeus.backbones.families import parse
from linnaeus.backbones.families.tensorflow_hub import HubModule
from linnaeus.engines import open_engine
from linnaeus.errors import ConfigurationError
from linnaeus.preparation import prepare
from linnaeus.storage import Folder

pytestmark = pytest.mark.slow

SIZE = 24
CHANNELS = 8


def weights(seed: int = 0) -> dict[str, Any]:
    """A convolution with batch normalisation, none of whose statistics are like another."""
    random = np.random.default_rng(seed)
    kernel = random.normal(size=(3, 3, 3, CHANNELS)).astype(np.float32)
    statistics = random.uniform(0.5, 1.5, (4, CHANNELS)).astype(np.float32)
    names = ("kernel", "scale", "offset", "mean", "variance")
    return dict(zip(names, [kernel, *statistics], strict=True))


def expected(pixels: Any, w: dict[str, Any]) -> Any:
    import tensorflow as tf

    x = tf.nn.conv2d(pixels / np.float32(255), w["kernel"], 2, "SAME").numpy()
    x = (x - w["mean"]) / np.sqrt(w["variance"] + 1e-3) * w["scale"] + w["offset"]
    return np.clip(x, 0, 6).mean((1, 2))


def features(x: Any, w: dict[str, Any]) -> Any:
    import tensorflow as tf

    x = tf.nn.conv2d(x, w["kernel"], 2, "SAME")
    normal = (w["scale"], w["offset"], w["mean"], w["variance"])
    x, *_ = tf.compat.v1.nn.fused_batch_norm(x, *normal, is_training=False, epsilon=1e-3)
    return tf.reduce_mean(tf.nn.relu6(x), [1, 2])


def tf2_module(to: Path, size: int | None = SIZE, *, seed: int = 0) -> Path:
    """A reusable module: called, with `training`, and no signatures."""
    import tensorflow as tf

    variables = {name: tf.Variable(value) for name, value in weights(seed).items()}
    module: Any = tf.Module()
    module.weights = variables

    def call(images: Any, training: bool = False) -> Any:
        return features(images, variables) * (0.0 if training else 1.0)

    module.__call__ = tf.function(call)
    spec = tf.TensorSpec([None, size, size, 3], tf.float32)
    for training in (True, False):
        module.__call__.get_concrete_function(spec, training=training)
    tf.saved_model.save(module, str(to))
    return to


def tf2_signature(to: Path, output: str = "feature_vector", *, also: bool = False) -> Path:
    """A SavedModel that has signatures only."""
    import tensorflow as tf

    module: Any = tf.Module()
    module.weights = {name: tf.Variable(value) for name, value in weights().items()}

    @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32, name="inputs")])
    def serve(inputs: Any) -> Any:
        x = features(inputs, module.weights)
        return {output: x, "logits": x} if also else {output: x}

    tf.saved_model.save(module, str(to), signatures=serve)
    return to


def tf1_module(to: Path, tags: tuple[str, ...] = (), signature: str = "default") -> Path:
    """As the original hub library wrote them: reference variables, a graph for each use."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, [None, SIZE, SIZE, 3], "images")
        variables = {
            name: v1.get_variable(name, initializer=value, use_resource=False)
            for name, value in weights().items()
        }
        result = features(images, variables)
        session.run(v1.global_variables_initializer())
        build = v1.saved_model.build_tensor_info
        signatures = {
            name: v1.saved_model.build_signature_def(
                {"images": build(images)}, {"default": build(x)}
            )
            for name, x in ((signature, result), ("other", result + 1))
        }
        builder = v1.saved_model.Builder(str(to))
        builder.add_meta_graph_and_variables(session, ["train"], signature_def_map=signatures)
        builder.add_meta_graph(list(tags), signature_def_map=signatures)
        builder.save()
    if not tags:
        (to / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return to


def save(module: Path | str, to: Path) -> Saved:
    return HubModule(parse(str(module))).save(to)


def embed(folder: Path, pixels: Any) -> Any:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder / "tensorflow"))
    return loaded.signatures["serving_default"](pixels=tf.constant(pixels))["embedding"].numpy()


@pytest.fixture
def pixels() -> Any:
    return np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)


STYLES = {
    "tf2 call": tf2_module,
    "tf2 signature": tf2_signature,
    "tf1 hub": tf1_module,
    "tf1 hub, feature vector": lambda to: tf1_module(to, signature="image_feature_vector"),
    "tf1 SavedModel": lambda to: tf1_module(to, ("serve",), "serving_default"),
}


@pytest.mark.parametrize("style", STYLES)
def test_a_module_of_any_style_embeds_uint8_pixels(style: str, tmp_path: Path, pixels: Any):
    saved = save(STYLES[style](tmp_path / "module"), tmp_path / "backbone")
    assert (saved.height, saved.width, saved.embedding_size) == (SIZE, SIZE, CHANNELS)
    result = embed(tmp_path / "backbone", pixels)
    np.testing.assert_allclose(result, expected(pixels, weights()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("style", STYLES)
def test_a_prepared_module_runs_on_every_engine(
    style: str, workspace: Folder, tmp_path: Path, pixels: Any
):
    spec = prepare(workspace, str(STYLES[style](tmp_path / "module")))
    assert set(spec.engines) == {"openvino", "litert", "tensorflow"}
    files = local_files(workspace, spec.fingerprint)
    for name in spec.engines:
        result = open_engine(files, spec, name).embed(pixels)
        np.testing.assert_allclose(result, expected(pixels, weights()), rtol=1e-3, atol=1e-4)


def test_a_module_may_take_uint8(tmp_path: Path, pixels: Any):
    save(tf2_module(tmp_path / "module"), tmp_path / "first")
    saved = save(tmp_path / "first" / "tensorflow", tmp_path / "second")
    assert saved.embedding_size == CHANNELS
    result = embed(tmp_path / "second", pixels)
    np.testing.assert_allclose(result, expected(pixels, weights()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("style", STYLES)
def test_a_saved_module_can_be_part_of_another(style: str, tmp_path: Path, pixels: Any):
    import tensorflow as tf

    save(STYLES[style](tmp_path / "module"), tmp_path / "backbone")
    inner = tf.saved_model.load(str(tmp_path / "backbone" / "tensorflow"))
    outer: Any = tf.Module()
    outer.backbone = inner
    outer.twice = tf.function(
        lambda x: 2 * inner.signatures["serving_default"](pixels=x)["embedding"],
        input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3], tf.uint8)],
    )
    tf.saved_model.save(outer, str(tmp_path / "outer"))
    again = tf.saved_model.load(str(tmp_path / "outer"))
    result = again.twice(pixels)
    np.testing.assert_allclose(result, 2 * expected(pixels, weights()), rtol=1e-4, atol=1e-5)


def test_a_module_of_any_size_needs_one(tmp_path: Path, pixels: Any):
    module = tf2_module(tmp_path / "module", size=None)
    with pytest.raises(ConfigurationError, match=r"such as .*module@224"):
        save(module, tmp_path / "backbone")
    assert save(f"{module}@{SIZE}", tmp_path / "backbone").height == SIZE
    result = embed(tmp_path / "backbone", pixels)
    np.testing.assert_allclose(result, expected(pixels, weights()), rtol=1e-4, atol=1e-5)


def test_another_size_than_the_modules_is_refused(tmp_path: Path):
    module = tf2_module(tmp_path / "module")
    with pytest.raises(ConfigurationError, match="24x24 only: leave @32 out"):
        save(f"{module}@32", tmp_path / "backbone")


def test_middle_layers_are_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"leave \+mid out"):
        save("/any/module+mid", tmp_path / "backbone")


def test_one_of_several_outputs_has_to_be_named(tmp_path: Path):
    module = tf2_signature(tmp_path / "module", "penultimate", also=True)
    with pytest.raises(ConfigurationError, match="several outputs, logits, penultimate"):
        save(module, tmp_path / "backbone")


def test_a_module_of_text_is_refused(tmp_path: Path):
    import tensorflow as tf

    module: Any = tf.Module()
    spec = tf.TensorSpec([None], tf.string)
    module.__call__ = tf.function(tf.strings.length, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "module"))
    with pytest.raises(ConfigurationError, match="takes no pictures"):
        save(tmp_path / "module", tmp_path / "backbone")


def test_a_feature_map_is_refused(tmp_path: Path):
    import tensorflow as tf

    module: Any = tf.Module()
    spec = tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32)
    module.__call__ = tf.function(lambda x: x[:, ::2, ::2], input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "module"))
    with pytest.raises(ConfigurationError, match="not a vector an image"):
        save(tmp_path / "module", tmp_path / "backbone")


def test_a_folder_that_is_no_saved_model_is_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="There is no folder"):
        HubModule(parse(f"{tmp_path}/absent")).identity()
    with pytest.raises(ConfigurationError, match=r"has no saved_model\.pb"):
        HubModule(parse(str(tmp_path))).identity()
    (tmp_path / "saved_model.pb").write_bytes(b"not a proto")
    with pytest.raises(ConfigurationError, match="damaged"):
        save(tmp_path, tmp_path / "backbone")


@pytest.mark.parametrize("style", ["tf2 call", "tf1 hub"])
def test_a_module_without_its_variables_is_refused(style: str, tmp_path: Path):
    module = STYLES[style](tmp_path / "module")
    for path in (module / "variables").iterdir():
        path.unlink()
    with pytest.raises(ConfigurationError, match="module cannot be loaded") as refused:
        save(module, tmp_path / "backbone")
    assert "\n" not in str(refused.value)


def test_the_identity_of_a_folder_is_its_content(tmp_path: Path):
    one, same = tf2_module(tmp_path / "one"), tmp_path / "same"
    same.mkdir()
    for path in one.rglob("*"):
        copy = same / path.relative_to(one)
        copy.mkdir() if path.is_dir() else copy.write_bytes(path.read_bytes())
    other = tf2_module(tmp_path / "other", seed=1)
    identity = {path: HubModule(parse(str(path))).identity() for path in (one, same, other)}
    assert identity[one] == identity[same] != identity[other]


@contextlib.contextmanager
def archive_server(module: Path) -> Iterator[str]:
    """Answers as a module's host does: the folder as tar.gz, at `/module/1?tf-hub-format=…`."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(module, arcname=".")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path.startswith("/module/1?tf-hub-format=compressed")
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(archive.getvalue() if found else b"")

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_handle_is_downloaded(tmp_path: Path, pixels: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    module = tf1_module(tmp_path / "module")
    with archive_server(module) as host:
        saved = save(f"{host}/module/1", tmp_path / "backbone")
    local = save(module, tmp_path / "local")
    assert saved.weights_sha256 == local.weights_sha256
    result = embed(tmp_path / "backbone", pixels)
    np.testing.assert_allclose(result, expected(pixels, weights()), rtol=1e-4, atol=1e-5)


def test_a_handle_that_is_not_there_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    with archive_server(tf2_module(tmp_path / "module")) as host:
        with pytest.raises(ConfigurationError, match=r"404.*check the handle") as absent:
            save(f"{host}/absent/1", tmp_path / "backbone")
        stopped = f"{host}/module/1"
    with pytest.raises(ConfigurationError, match=r"refused.*give its folder") as unreachable:
        save(stopped, tmp_path / "backbone")
    assert "\n" not in f"{absent.value}{unreachable.value}"


def test_what_is_no_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>sign in</html>")

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(ConfigurationError, match="cannot be downloaded"):
            save(f"http://127.0.0.1:{server.server_port}/m/1", tmp_path / "backbone")
    finally:
        server.shutdown()
        server.server_close()


def trainable_module(to: Path) -> Path:
    """With what "Reusable SavedModels" asks of a module that can be trained."""
    import tensorflow as tf

    variables = {name: tf.Variable(value) for name, value in weights().items()}
    module: Any = tf.__internal__.tracking.AutoTrackable()

    def call(images: Any, training: bool = False) -> Any:
        if training:
            variables["mean"].assign_add(tf.ones(CHANNELS))
        return features(images, variables)

    module.__call__ = tf.function(call)
    spec = tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32)
    for training in (True, False):
        module.__call__.get_concrete_function(spec, training=training)
    module.variables = list(variables.values())
    module.trainable_variables = [variables[name] for name in ("kernel", "scale", "offset")]
    penalty = tf.function(lambda: tf.reduce_sum(variables["kernel"] ** 2), input_signature=[])
    module.regularization_losses = [penalty]
    tf.saved_model.save(module, str(to))
    return to


def test_a_module_that_can_be_trained_brings_all_that_training_needs(tmp_path: Path):
    import tensorflow as tf

    network = HubModule(parse(str(trainable_module(tmp_path / "module"))))
    module = network.trainable(Extent())
    assert [v.shape for v in module.learned] == [(3, 3, 3, CHANNELS), (CHANNELS,), (CHANNELS,)]
    assert len(module.changed) == len(module.arrays()) == 5
    assert float(module.penalties[0]()) == pytest.approx(np.sum(weights()["kernel"] ** 2))
    pixels = np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    given = module.frozen(tf.constant(pixels))
    np.testing.assert_allclose(module.trained(given, False), expected(pixels, weights()), rtol=1e-4)
    before = module.arrays()
    module.trained(given, True)
    changed = [not np.array_equal(a, b) for a, b in zip(before, module.arrays(), strict=True)]
    assert changed == [False, False, False, True, False]
    assert (module.frozen_shape, module.values) == (None, CHANNELS)


@pytest.mark.parametrize("make", [tf1_module, tf2_signature, tf2_module])
def test_a_module_without_trainable_variables_cannot_be_fine_tuned(make: Any, tmp_path: Path):
    network = HubModule(parse(str(make(tmp_path / "module"))))
    with pytest.raises(ConfigurationError, match=r"cannot be fine-tuned.*Take a TF2"):
        network.trainable(Extent())


@pytest.mark.parametrize(
    ("extent", "why"),
    [(Extent(layers=3), "no layers to count"), (Extent(flatten=True), "cannot be flattened")],
)
def test_a_part_of_a_module_cannot_be_fine_tuned(extent: Extent, why: str, tmp_path: Path):
    network = HubModule(parse(str(trainable_module(tmp_path / "module"))))
    with pytest.raises(ConfigurationError, match=why):
        network.trainable(extent)

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linnaeus.backbones import local_files
from linnaeus.backbones.families import parse
from linnaeus.backbones.families.keras_applications import KerasApplication
from linnaeus.backbones.families.keras_catalogue import APPLICATIONS
from linnaeus.engines import open_engine
from linnaeus.errors import ConfigurationError
from linnaeus.preparation import prepare
from linnaeus.storage import Folder

SIZE = 64
PREPROCESSED = {
    "mobilenet_v2": lambda rgb: rgb / 127.5 - 1,
    "mobilenet_v3_small": lambda rgb: rgb,
    "vgg16": lambda rgb: rgb[..., ::-1] - np.float32([103.939, 116.779, 123.68]),
}
VALUES = {"mobilenet_v2": 1280, "mobilenet_v3_small": 576, "vgg16": 512}
MIDDLE = {
    "mobilenet_v2": ["block_6_expand_relu", "block_13_expand_relu"],
    "vgg16": ["block4_conv3", "block5_conv3"],
    "mobilenet_v3_small": ["activation_1", "activation_11"],
}


def network(name: str) -> Any:
    """The network with weights and statistics that are all different and not near zero."""
    import keras

    keras.backend.clear_session()  # so that unnamed layers are numbered from the start
    function = getattr(keras.applications, APPLICATIONS[name].function)
    model = function(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    random = np.random.default_rng(len(name))
    keras.utils.set_random_seed(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


def embed(backbone: Path, pixels: Any) -> Any:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(backbone / "tensorflow"))
    return loaded.signatures["serving_default"](pixels=tf.constant(pixels))["embedding"].numpy()


SOAK = pytest.mark.soak


@pytest.fixture
def pixels() -> Any:
    return np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v2",
        pytest.param("vgg16", marks=SOAK),
        pytest.param("mobilenet_v3_small", marks=SOAK),
    ],
)
def test_an_application_embeds_as_keras_does_on_every_engine(
    name: str, workspace: Folder, tmp_path: Path, pixels: Any
):
    model = network(name)
    model.save_weights(tmp_path / "w.weights.h5")
    spec = prepare(workspace, f"keras:{name}@{SIZE}?weights={tmp_path}/w.weights.h5")
    assert (spec.height, spec.width, spec.embedding_size) == (SIZE, SIZE, VALUES[name])
    assert set(spec.engines) == {"openvino", "litert", "tensorflow"}
    features = model(PREPROCESSED[name](pixels.astype(np.float32)), training=False)
    expected = np.mean(features, (1, 2))
    assert expected.std() > 1e-3
    files = local_files(workspace, spec.fingerprint)
    for engine in spec.engines:
        result = open_engine(files, spec, engine).embed(pixels)
        np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-3 * expected.std())


@pytest.mark.slow
@pytest.mark.parametrize("name", MIDDLE)
def test_middle_layers_are_the_last_of_two_resolutions(name: str, tmp_path: Path, pixels: Any):
    import keras

    model = network(name)
    model.save_weights(tmp_path / "w.weights.h5")
    asked = parse(f"{name}@{SIZE}+mid?weights={tmp_path}/w.weights.h5")
    saved = KerasApplication(asked).save(tmp_path / "backbone")
    inside = [*(model.get_layer(layer).output for layer in MIDDLE[name]), model.output]
    maps = keras.Model(model.input, inside)(PREPROCESSED[name](pixels.astype(np.float32)))
    expected = np.concatenate([np.mean(x, (1, 2)) for x in maps], axis=1)
    assert saved.embedding_size == expected.shape[1]
    np.testing.assert_allclose(embed(tmp_path / "backbone", pixels), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_network_without_common_middle_layers_says_so(tmp_path: Path):
    model = KerasApplication(parse("nasnet_mobile+mid?weights=/absent.h5"))
    with pytest.raises(ConfigurationError, match=r"absent\.h5"):
        model.identity()

    import keras

    function = keras.applications.NASNetMobile
    path = tmp_path / "w.weights.h5"
    function(include_top=False, weights=None, input_shape=(224, 224, 3)).save_weights(path)
    with pytest.raises(ConfigurationError, match=r"leave \+mid out"):
        KerasApplication(parse(f"nasnet_mobile+mid?weights={path}")).save(tmp_path / "backbone")


@pytest.mark.slow
def test_weights_of_another_network_are_refused(tmp_path: Path):
    network("mobilenet_v2").save_weights(tmp_path / "w.weights.h5")
    other = parse(f"mobilenet_v3_small@{SIZE}?weights={tmp_path}/w.weights.h5")
    with pytest.raises(ConfigurationError, match="do not fit"):
        KerasApplication(other).save(tmp_path / "backbone")


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"no weights"])
def test_a_file_that_holds_no_weights_is_refused(content: bytes, tmp_path: Path):
    (tmp_path / "w.h5").write_bytes(content)
    asked = parse(f"mobilenet_v2@{SIZE}?weights={tmp_path}/w.h5")
    with pytest.raises(ConfigurationError, match=r"w\.h5 do not fit"):
        KerasApplication(asked).save(tmp_path / "backbone")


@pytest.mark.slow
def test_a_size_that_is_too_small_is_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"cannot be built at 8 pixels: .*32x32"):
        KerasApplication(parse("mobilenet_v2@8")).save(tmp_path / "backbone")


@pytest.mark.slow
def test_without_internet_the_remedy_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(ConfigurationError, match=r"cannot be downloaded .*weights=/path"):
        KerasApplication(parse("mobilenet_v3_large")).save(tmp_path / "backbone")


@pytest.mark.slow
def test_every_application_of_the_catalogue_exists():
    import keras

    for application in APPLICATIONS.values():
        module = getattr(keras.applications, application.module)
        assert callable(getattr(keras.applications, application.function))
        assert callable(module.preprocess_input)

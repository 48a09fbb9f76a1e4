"""Which configurations are taken, which are refused, and in whose words."""

from pathlib import Path
from typing import Any

import grpc
import pytest

pytestmark = pytest.mark.slow


def models(text: str, tmp_path: Path) -> Any:
    from serving.models.model_config import read_models

    path = tmp_path / "models.config"
    path.write_text(text)
    return read_models(str(path))


def model(rest: str = "", name: str = "m", base_path: str = "/models/m") -> str:
    return f'config {{ name: "{name}" base_path: "{base_path}" {rest} }}'


def listed(*configs: str) -> str:
    return "model_config_list {" + " ".join(configs) + "}"


PLATFORM = 'model_platform: "tensorflow"'


@pytest.mark.parametrize(
    ("policy", "most", "only"),
    [
        ("", 1, None),
        ("model_version_policy { latest {} }", 1, None),
        ("model_version_policy { latest { num_versions: 3 } }", 3, None),
        ("model_version_policy { all {} }", None, None),
        ("model_version_policy { specific { versions: 4 versions: 2 } }", None, {2, 4}),
    ],
)
def test_a_models_policy_is_read(tmp_path: Path, policy: str, most: Any, only: Any):
    (config,) = models(listed(model(f"{PLATFORM} {policy}")), tmp_path)
    assert (config.name, config.base_path) == ("m", "/models/m")
    assert (config.policy.most, config.policy.only) == (most, only)


def test_labels_are_read(tmp_path: Path):
    labels = 'version_labels { key: "stable" value: 1 } version_labels { key: "next" value: 2 }'
    (config,) = models(listed(model(f"{PLATFORM} {labels}")), tmp_path)
    assert config.labels == {"stable": 1, "next": 2}


def test_the_deprecated_model_type_still_names_tensorflow(tmp_path: Path):
    (config,) = models(listed(model("model_type: TENSORFLOW")), tmp_path)
    assert config.name == "m"


def test_an_empty_configuration_asks_for_nothing(tmp_path: Path):
    assert models("# nothing yet", tmp_path) is None
    assert models("model_config_list {}", tmp_path) == []


@pytest.mark.parametrize("base_path", ["/m", "s3://bucket/m", "gs://bucket/m", "file:///m"])
def test_absolute_paths_and_uris_are_base_paths(tmp_path: Path, base_path: str):
    (config,) = models(listed(model(PLATFORM, base_path=base_path)), tmp_path)
    assert config.base_path == base_path


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (
            listed(model(PLATFORM), model(PLATFORM)),
            "Illegal to list model m multiple times in config list",
        ),
        (
            listed(model(PLATFORM, base_path="models/m")),
            "Expected model m to have an absolute path or URI; got base_path()=models/m",
        ),
        (
            listed(model(PLATFORM, base_path="")),
            "Expected model m to have an absolute path or URI; got base_path()=",
        ),
        (
            listed(model('model_platform: "pytorch"')),
            "Model m requests unsupported platform pytorch",
        ),
        (
            listed(model()),
            "Illegal setting neither ModelServerConfig::model_type (deprecated) "
            "nor ModelServerConfig::model_platform.",
        ),
        (
            listed(model(f"{PLATFORM} model_type: TENSORFLOW")),
            "Illegal setting both ModelServerConfig::model_type (deprecated) "
            "and ModelServerConfig::model_platform.",
        ),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path: Path, text: str, refusal: str):
    from serving.grpc_status import StatusError

    with pytest.raises(StatusError) as caught:
        models(text, tmp_path)
    assert (caught.value.code, caught.value.text) == (grpc.StatusCode.INVALID_ARGUMENT, refusal)


def test_a_file_that_does_not_parse_is_named_in_tensorflow_servings_words(tmp_path: Path):
    from linnaeus.errors import ConfigurationError

    expected = r"^Error parsing text-format tensorflow.serving.ModelServerConfig.*models.config"
    with pytest.raises(ConfigurationError, match=expected):
        models("improper model config", tmp_path)
    with pytest.raises(ConfigurationError, match="cannot read"):
        from serving.models.model_config import read_models

        read_models(str(tmp_path / "absent"))

import subprocess
import sys
from dataclasses import replace

import pytest

from linnaeus.errors import ConfigurationError
from linnaeus.models import Model, ModelBackbone, load_model, names, parse_reference, versions
from linnaeus.storage import Folder

BACKBONE = ModelBackbone("pixels", "0123456789abcdef", 28, 28, 2352)
MODEL = Model(
    name="solar",
    version=1,
    labels=("a b", "c/d", "größe"),
    backbone=BACKBONE,
    hyperparameters={"head": "linear"},
    metrics={"test": {"accuracy": 0.9}},
    thresholds={"abstain_below": 0.8, "target_precision": 0.95},
    run_id="01K00000000000000000000000",
    tried=[{"kind": "linear", "validation_log_loss": 0.2}],
    curve=[{"step": 1, "train_loss": 0.3}],
    mistakes=[{"uri": "/bucket/a.jpg", "true": "a b", "predicted": "c/d", "score": 0.9}],
    data={"source": "/bucket"},
    libraries={"numpy": "2"},
    created_at="2026-01-01T00:00:00+00:00",
)


def publish(workspace: Folder, model: Model) -> None:
    assert workspace.write_new(f"{model.prefix}/linnaeus.json", model.to_json().encode())


def test_without_a_version_the_newest_by_number_is_loaded(workspace: Folder) -> None:
    for version in (2, 10, 9):
        publish(workspace, replace(MODEL, version=version))
    assert load_model(workspace, "solar").version == 10
    assert load_model(workspace, "solar:9").version == 9
    assert versions(workspace, "solar") == [2, 9, 10]


def test_a_version_exists_only_when_its_description_does(workspace: Folder) -> None:
    publish(workspace, MODEL)
    workspace.write_new("models/solar/2/saved_model.pb", b"half uploaded")
    workspace.write_new("models/solar/claims/3", b"")
    workspace.write_new("models/solar/.staging-4-ab/linnaeus.json", b"{}")
    workspace.write_new("models/never/claims/1", b"")
    assert versions(workspace, "solar") == [1]
    assert load_model(workspace, "solar").version == 1
    assert names(workspace) == ["solar"]


@pytest.mark.parametrize("asked", ["lunar", "solar:2"])
def test_a_model_that_is_not_there_is_named_with_those_that_are(
    workspace: Folder, asked: str
) -> None:
    publish(workspace, MODEL)
    with pytest.raises(ConfigurationError) as caught:
        load_model(workspace, asked)
    assert f"no model '{asked}'" in str(caught.value)
    assert "solar:1" in str(caught.value)
    assert "linnaeus train" in str(caught.value)


def test_an_empty_workspace_has_no_models(workspace: Folder) -> None:
    assert names(workspace) == []
    with pytest.raises(ConfigurationError, match="no models yet"):
        load_model(workspace, "solar")


def test_references_name_a_model_and_perhaps_a_version() -> None:
    assert parse_reference("solar") == ("solar", None)
    assert parse_reference("solar:12") == ("solar", 12)


@pytest.mark.parametrize(
    "text", ["", "a/b", "..", ".hidden", "a b", "ä", "solar:", "solar:x", "s:0"]
)
def test_malformed_references_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="model"):
        parse_reference(text)


def test_reading_models_imports_no_tensorflow() -> None:
    code = "import sys, linnaeus.models.description; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""A family of thirty lines and a line of registration, which brings no SavedModel."""

import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from linnaeus import Workspace
from linnaeus.backbones import families
from linnaeus.errors import ConfigurationError
from linnaeus.images import decode
from linnaeus.preparation import find, network_to_train, prepare
from linnaeus.storage import Folder
from linnaeus.tables import EmbeddingTable
from linnaeus.training.config import TrainConfig
from linnaeus.workflow.file.loading import read_workflow
from tests import pictures
from tests.mean_colour import MeanColour

NAME = "mean-colour@16"
REGISTRATION = "tests.mean_colour:MeanColour"
NO_MODEL = f"Backbone {NAME} has no SavedModel to export.* only files of openvino: embed with it"


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "FAMILIES", [*families.FAMILIES, REGISTRATION])


def test_its_names_are_known_and_offered():
    assert str(families.parse(NAME)) == NAME
    with pytest.raises(ConfigurationError, match="did you mean mean-colour"):
        families.parse("mean-color")


@pytest.mark.slow
def test_it_is_prepared_and_embedded_with_where_there_is_no_tensorflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    expected = {}
    (tmp_path / "photos").mkdir()
    for seed in range(5):
        data = pictures.encode(pictures.scene(seed=seed), "PNG")
        (tmp_path / "photos" / f"{seed}.png").write_bytes(data)
        expected[sha256(data).hexdigest()] = decode(data, 16, 16).pixels.mean(axis=(0, 1))
    workspace = Workspace(tmp_path / "workspace")
    assert workspace.embed(tmp_path / "photos", NAME).counts.embedded == 5
    spec = find(workspace.folder, NAME)
    assert spec is not None
    assert (set(spec.engines), spec.licence) == ({"openvino"}, "none needed")
    assert spec.unavailable == dict.fromkeys(("tensorflow", "litert"), "no SavedModel is brought")
    found = _stored(workspace.folder, spec.fingerprint)
    assert found.keys() == expected.keys()
    for digest, colour in expected.items():
        np.testing.assert_allclose(found[digest], colour, rtol=1e-5)


def test_what_a_brought_network_gives_is_tried_when_it_is_prepared(
    workspace: Folder, monkeypatch: pytest.MonkeyPatch
):
    save = MeanColour.save
    monkeypatch.setattr(MeanColour, "save", lambda *given: replace(save(*given), embedding_size=4))
    with pytest.raises(ValueError, match=r"from shape \(3,\) into shape \(4,\)"):
        prepare(workspace, NAME)


def test_a_training_refuses_it_at_once_and_names_the_remedy(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=NO_MODEL):
        TrainConfig(backbone=NAME)
    with pytest.raises(ConfigurationError, match=NO_MODEL):
        Workspace(tmp_path).train(tmp_path / "no photos", "model", backbone=NAME)
    with pytest.raises(ConfigurationError, match=f"{NAME} cannot be fine-tuned: .* begin with"):
        network_to_train(Folder(str(tmp_path)), NAME)


def test_a_workflow_file_that_names_it_is_refused_when_it_is_read(tmp_path: Path):
    file = tmp_path / "nightly.toml"
    file.write_text(f'workspace = "w"\nimages.location = "photos"\nbackbone.name = "{NAME}"\n')
    with pytest.raises(ConfigurationError, match=f"nightly.toml.*{NO_MODEL}"):
        read_workflow(file)


def test_every_family_says_what_it_is():
    for family in families.every():
        assert family.key and family.licence and (family.networks or family.others)
        assert family.brings
    keys = [family.key for family in families.every()]
    assert len(set(keys)) == len(keys)


def _stored(workspace: Folder, fingerprint: str) -> dict[str, np.ndarray]:
    table = EmbeddingTable(workspace, fingerprint)
    return {
        digest: vector
        for (_, digests, _), part in zip(table.digests(), table.parts, strict=True)
        for digest, vector in zip(digests.to_pylist(), table.vectors(part), strict=True)
    }

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from linnaeus.errors import ConfigurationError
from tests.linnaeus.training.conftest import HEIGHT, LABELS, WIDTH

if TYPE_CHECKING:
    from tests.linnaeus.training.conftest import Exported

pytestmark = pytest.mark.slow

PIXELS = np.random.default_rng(3).integers(0, 256, (5, HEIGHT, WIDTH, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def graph(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from linnaeus.training.exporting import float_model, frozen_graph

    path = tmp_path_factory.mktemp("graph") / "output_graph.pb"
    path.write_bytes(frozen_graph.freeze(float_model.of_published(exported.folder), "final_result"))
    return path


def test_a_frozen_graph_scores_numbers_as_the_model_scores_their_pixels(
    exported: Exported, graph: Path
) -> None:
    from linnaeus.training.exporting.frozen_graph import FrozenGraph
    from linnaeus.training.exporting.published import PublishedModel

    found = FrozenGraph(graph)
    assert found.size_of("Placeholder") == (HEIGHT, WIDTH)
    scores = found.run("Placeholder", "final_result", (PIXELS / 255).astype(np.float32))
    published = PublishedModel(exported.folder).call("pixels", pixels=PIXELS)["scores"]
    assert scores.shape == (len(PIXELS), len(LABELS))
    assert np.allclose(scores, published, atol=1e-6)
    assert np.ptp(scores, axis=0).max() > 0.01


def test_a_frozen_graph_runs_in_a_session_of_tensorflow_1(exported: Exported, graph: Path) -> None:
    """As the programs do that have loaded such graphs since 2016."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default() as imported, v1.Session() as session:
        definition = v1.GraphDef()
        definition.ParseFromString(graph.read_bytes())
        tf.import_graph_def(definition)
        result = imported.get_operation_by_name("import/final_result").outputs[0]
        given = imported.get_operation_by_name("import/Placeholder").outputs[0]
        scores = session.run(result, {given: PIXELS / 255})
    variables = {"VarHandleOp", "Variable", "VariableV2", "ReadVariableOp"}
    assert not {node.op for node in definition.node} & variables
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)


def test_a_layer_that_is_not_there_is_named_with_those_that_are(graph: Path) -> None:
    from linnaeus.training.exporting.frozen_graph import FrozenGraph

    pictures = np.zeros((1, HEIGHT, WIDTH, 3), np.float32)
    with pytest.raises(ConfigurationError, match=r"'input'.*Placeholder.*final_result"):
        FrozenGraph(graph).run("input", "final_result", pictures)


def test_pictures_of_another_size_are_refused(graph: Path) -> None:
    from linnaeus.training.exporting.frozen_graph import FrozenGraph

    with pytest.raises(ConfigurationError, match="--input_height"):
        pictures = np.zeros((1, 9, 9, 3), np.float32)
        FrozenGraph(graph).run("Placeholder", "final_result", pictures)


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    from linnaeus.training.exporting.frozen_graph import read

    (tmp_path / "graph.pb").write_bytes(b"no graph at all")
    with pytest.raises(ConfigurationError, match="no frozen graph"):
        read(tmp_path / "graph.pb")


def test_the_saved_model_takes_numbers_by_signature_and_by_call(
    exported: Exported, tmp_path: Path
) -> None:
    import tensorflow as tf

    from linnaeus.training.exporting import float_model
    from linnaeus.training.exporting.published import PublishedModel

    float_model.of_published(exported.folder).save(tmp_path / "saved")
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    image = tf.constant(PIXELS / 255, tf.float32)
    (name,) = loaded.signatures["serving_default"].structured_input_signature[1]
    assert name == "image"
    outputs = loaded.signatures["serving_default"](image=image)
    published = PublishedModel(exported.folder).call("pixels", pixels=PIXELS)["scores"]
    assert list(outputs) == ["prediction"]
    assert np.allclose(outputs["prediction"], published, atol=1e-6)
    assert np.allclose(loaded(image), published, atol=1e-6)

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from linnaeus.engines import open_engine
from linnaeus.models import ModelBackbone
from linnaeus.records import PREDICTION_OUTPUTS, prediction_outputs
from linnaeus.training.evaluation.decisions import DecisionRule, scores_of
from linnaeus.training.exporting import golden
from linnaeus.training.heads.head import log_softmax
from tests.linnaeus.training.conftest import HEIGHT, LABELS, SIZE, WIDTH, Exported

if TYPE_CHECKING:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    from linnaeus.training.exporting.published import PublishedModel

pytestmark = pytest.mark.slow

KINDS = ["plain", "turned", "cmyk", "large", "alpha", "palette", "sixteen-bit"]
OUTPUTS = {"label", "confidence", "scores", "top_labels", "top_scores"}
SIGNATURES = {
    "serving_default": ({"image_bytes"}, OUTPUTS),
    "keyed": ({"image_bytes", "key"}, OUTPUTS | {"key"}),
    "pixels": ({"pixels"}, OUTPUTS),
    "embedding": ({"embedding"}, OUTPUTS),
    "embed": ({"image_bytes"}, {"embedding"}),
    "classify": ({"inputs"}, {"classes", "scores"}),
}


@pytest.fixture(scope="module")
def published(exported: Exported) -> PublishedModel:
    from linnaeus.training.exporting.published import PublishedModel

    return PublishedModel(exported.folder)


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    return golden.encoded_pictures()


@pytest.fixture(scope="module")
def two(pictures: dict[str, bytes]) -> list[bytes]:
    return [pictures["plain.jpg"], pictures["alpha.png"]]


@pytest.fixture(scope="module")
def saved(exported: Exported) -> SavedModel:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    return SavedModel.FromString((exported.folder / "saved_model.pb").read_bytes())


def expected_scores(exported: Exported, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.exp(log_softmax(exported.head.logits(embeddings)))


def worker_embeddings(exported: Exported, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    engine = open_engine(exported.prepared.files, exported.prepared.spec)
    try:
        return engine.embed(pixels)
    finally:
        engine.close()


def random_pixels(images: int = 4) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (images, HEIGHT, WIDTH, 3), np.uint8)


def inputs_of(signature: str, data: list[bytes]) -> dict[str, list[bytes] | NDArray]:
    """Two rows for every input of a signature; `data` are two encoded pictures."""
    import tensorflow as tf

    feature = [tf.train.Feature(bytes_list=tf.train.BytesList(value=[one])) for one in data]
    every = {
        "image_bytes": data,
        "key": [b"first", "zweites ü".encode()],
        "pixels": random_pixels(2),
        "embedding": np.random.default_rng(0).normal(size=(2, SIZE)).astype(np.float32),
        "inputs": [
            tf.train.Example(
                features=tf.train.Features(feature={"image/encoded": one})
            ).SerializeToString()
            for one in feature
        ],
    }
    return {name: every[name] for name in SIGNATURES[signature][0]}


def test_the_signatures_are_exactly_those_agreed(saved: SavedModel) -> None:
    definitions = dict(saved.meta_graphs[0].signature_def)
    definitions.pop("__saved_model_init_op")
    found = {name: (set(d.inputs), set(d.outputs)) for name, d in definitions.items()}
    assert found == SIGNATURES
    for name, definition in definitions.items():
        method = "classify" if name == "classify" else "predict"
        assert definition.method_name == f"tensorflow/serving/{method}"


def test_types_and_shapes_are_those_agreed(saved: SavedModel) -> None:
    import tensorflow as tf

    def described(tensors: Any) -> dict[str, tuple[str, list[int]]]:
        return {
            name: (tf.as_dtype(info.dtype).name, [d.size for d in info.tensor_shape.dim])
            for name, info in tensors.items()
        }

    pixels = saved.meta_graphs[0].signature_def["pixels"]
    assert described(pixels.inputs) == {"pixels": ("uint8", [-1, HEIGHT, WIDTH, 3])}
    assert described(pixels.outputs) == {
        "label": ("string", [-1]),
        "confidence": ("float32", [-1]),
        "scores": ("float32", [-1, 6]),
        "top_labels": ("string", [-1, 5]),
        "top_scores": ("float32", [-1, 5]),
    }
    embedding = saved.meta_graphs[0].signature_def["embedding"]
    assert described(embedding.inputs) == {"embedding": ("float32", [-1, SIZE])}


def test_a_v1_session_runs_every_signature_by_its_definition_alone(
    exported: Exported, published: PublishedModel, two: list[bytes]
) -> None:
    import tensorflow as tf

    inputs = {name: inputs_of(name, two) for name in SIGNATURES}
    answers = {}
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(exported.folder))
        for name in SIGNATURES:
            definition = meta.signature_def[name]
            feed = {definition.inputs[key].name: value for key, value in inputs[name].items()}
            fetch = {key: info.name for key, info in definition.outputs.items()}
            answers[name] = session.run(fetch, feed)
    for name, answer in answers.items():
        for key, expected in published.call(name, **inputs[name]).items():
            assert len(answer[key]) == 2
            if expected.dtype == object:
                assert np.array_equal(answer[key], expected), (name, key)
            else:
                assert np.allclose(answer[key], expected, rtol=1e-5), (name, key)


def test_no_operation_needs_python_or_a_custom_kernel(saved: SavedModel) -> None:
    import tensorflow as tf

    graph = saved.meta_graphs[0].graph_def
    functions = [node for function in graph.library.function for node in function.node_def]
    operations = {node.op for node in [*graph.node, *functions]}
    assert not operations & {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
    assert saved.meta_graphs[0].meta_info_def.stripped_op_list.op
    custom = (
        operations - set(tf.raw_ops.__dict__) - {f.signature.name for f in graph.library.function}
    )
    assert not custom


def test_scores_of_embeddings_equal_the_heads(
    exported: Exported, published: PublishedModel
) -> None:
    embeddings = np.random.default_rng(1).normal(size=(64, SIZE)).astype(np.float32)
    outputs = published.call("embedding", embedding=embeddings)
    expected = expected_scores(exported, embeddings)
    assert np.allclose(outputs["scores"], expected, rtol=1e-4)
    order = np.argsort(-expected, axis=1)[:, :5]
    assert np.allclose(
        outputs["top_scores"], np.take_along_axis(expected, order, axis=1), rtol=1e-4
    )
    names = np.array([label.encode() for label in LABELS], object)
    assert np.array_equal(outputs["top_labels"], names[order])
    assert np.array_equal(outputs["label"], outputs["top_labels"][:, 0])
    assert np.array_equal(outputs["confidence"], outputs["top_scores"][:, 0])


def test_scores_of_pixels_equal_the_workers(exported: Exported, published: PublishedModel) -> None:
    pixels = random_pixels()
    expected = expected_scores(exported, worker_embeddings(exported, pixels))
    assert np.allclose(published.call("pixels", pixels=pixels)["scores"], expected, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_encoded_pictures_come_close_to_the_workers(
    exported: Exported, published: PublishedModel, pictures: dict[str, bytes], kind: str
) -> None:
    (data,) = (data for name, data in pictures.items() if name.startswith(kind))
    engine = open_engine(exported.prepared.files, exported.prepared.spec)
    worker = golden.embed([data], engine, ModelBackbone.of(exported.prepared.spec))
    engine.close()
    assert_close(published, data, worker, expected_scores(exported, worker)[0])


def assert_close(
    published: PublishedModel,
    data: bytes,
    worker: NDArray[np.float32],
    scores: NDArray[np.float64],
) -> None:
    """Cosine at least 0.99, and the same label unless the two best are within 0.05."""
    served = published.call("embed", image_bytes=[data])["embedding"][0]
    cosine = served @ worker[0] / np.linalg.norm(served) / np.linalg.norm(worker)
    assert cosine >= 0.99
    second, first = np.sort(scores)[-2:]
    if first - second > 0.05:
        answer = published.call("serving_default", image_bytes=[data])["scores"][0]
        assert answer.argmax() == scores.argmax()


def test_keys_come_back_in_order(published: PublishedModel, two: list[bytes]) -> None:
    inputs = inputs_of("keyed", two)
    outputs = published.call("keyed", **inputs)
    assert list(outputs["key"]) == inputs["key"]
    plain = published.call("serving_default", image_bytes=inputs["image_bytes"])
    assert np.array_equal(outputs["scores"], plain["scores"])


def test_classify_answers_as_serving_default_does(
    published: PublishedModel, two: list[bytes]
) -> None:
    outputs = published.call("classify", **inputs_of("classify", two))
    plain = published.call("serving_default", image_bytes=two)
    assert np.array_equal(outputs["classes"], plain["top_labels"])
    assert np.allclose(outputs["scores"], plain["top_scores"])


def test_one_picture_that_is_none_fails_its_request(
    published: PublishedModel, two: list[bytes]
) -> None:
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError):
        published.call("serving_default", image_bytes=[two[0], b"no picture"])


def test_labels_are_stored_as_written(exported: Exported) -> None:
    text = (exported.folder / "labels.txt").read_text("utf-8")
    assert tuple(text.splitlines()) == LABELS


def warm_up_requests(folder: Path) -> list[Any]:
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    records = [PredictionLog.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path))]
    return [record.predict_log.request for record in records]


def test_warm_up_records_are_requests_that_the_model_answers(
    exported: Exported, published: PublishedModel
) -> None:
    import tensorflow as tf

    requests = warm_up_requests(exported.folder)
    names = [request.model_spec.signature_name for request in requests]
    assert names == [n for n in ("embedding", "pixels", "serving_default") for _ in range(2)]
    assert [list(request.output_filter) for request in requests] == [[], [*PREDICTION_OUTPUTS]] * 3
    for request in requests:
        assert request.model_spec.name == "shapes"
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        outputs = published.call(request.model_spec.signature_name, **inputs)
        assert outputs["label"].shape == (1,)


def test_golden_images_say_what_the_worker_computes(
    exported: Exported, published: PublishedModel, pictures: dict[str, bytes]
) -> None:
    expected = json.loads((exported.folder / "golden" / "golden.json").read_text("utf-8"))
    assert expected["labels"] == list(LABELS)
    assert {one["file"] for one in expected["images"]} == set(pictures)
    for one in expected["images"]:
        assert (exported.folder / "golden" / one["file"]).read_bytes() == pictures[one["file"]]
        answer = published.call("embedding", embedding=[one["embedding"]])
        assert np.allclose(answer["scores"][0], one["scores"], rtol=1e-4)
        assert one["label"] == LABELS[int(np.argmax(one["scores"]))]
        assert one["labels"] == [one["label"]]


def said_by(rule: DecisionRule, logits: NDArray[np.float32]) -> dict[str, Any]:
    """What the exported graph says of logits, strings decoded."""
    import tensorflow as tf

    from linnaeus.training.exporting.signatures import one_label, several_labels

    say = several_labels(rule) if rule.task == "multi" else one_label(rule)
    outputs = {name: tensor.numpy() for name, tensor in say(tf.constant(logits)).items()}
    return {
        name: np.char.decode(array.astype(bytes), "utf-8") if array.dtype == object else array
        for name, array in outputs.items()
    }


@pytest.mark.parametrize("below", [0.0, 0.4, 1.1])
def test_one_label_is_decided_as_by_the_plain_rule(below: float) -> None:
    rule = DecisionRule(LABELS, "single", {"abstain_below": below})
    logits = np.random.default_rng(3).normal(size=(200, len(LABELS))).astype(np.float32)
    expected, found = rule.decide(scores_of(logits)), said_by(rule, logits)
    assert found["label"].tolist() == expected.label
    assert found["top_labels"].tolist() == expected.top_labels
    assert found["confidence"] == pytest.approx(expected.confidence, rel=1e-5)
    assert found["top_scores"] == pytest.approx(expected.top_scores, rel=1e-5)
    assert len(set(expected.label)) == {0.0: 6, 0.4: 7, 1.1: 1}[below]


@pytest.mark.parametrize(("thresholds", "most"), [([0.0] * 6, 6), ([0.2, 0.9, 2, 0.5, 0.7, 1], 4)])
@pytest.mark.parametrize("images", [0, 1, 200])
def test_several_labels_are_decided_as_by_the_plain_rule(
    thresholds: list[float], most: int, images: int
) -> None:
    rule = DecisionRule(LABELS, "multi", dict(zip(LABELS, thresholds, strict=True)))
    logits = 2 * np.random.default_rng(4).normal(size=(images, len(LABELS))).astype(np.float32)
    expected, found = rule.decide(scores_of(logits, "multi")), said_by(rule, logits)
    assert found["label"].tolist() == expected.label
    assert [[label for label in row if label] for row in found["labels"].tolist()] == (
        expected.labels
    )
    assert found["labels"].shape == (images, max([1, *map(len, expected.labels)]))
    assert found["labels"].shape[1] <= most
    assert found["confidence"] == pytest.approx(expected.confidence, rel=1e-5)
    assert found["top_labels"].tolist() == expected.top_labels


def test_a_model_of_which_no_label_applies_still_answers_with_a_column_of_labels() -> None:
    rule = DecisionRule(("a", "b"), "multi", {"a": 0.9, "b": 0.9})
    found = said_by(rule, np.zeros((2, 2), np.float32))
    assert found["label"].tolist() == ["unknown", "unknown"]
    assert found["labels"].tolist() == [[""], [""]]
    assert found["confidence"].tolist() == [0.5, 0.5]


def test_a_model_of_several_labels_is_exported_with_all_of_them(
    exported: Exported, tmp_path: Path
) -> None:
    from linnaeus.training.exporting.export import TrainedModel, export
    from linnaeus.training.exporting.published import PublishedModel

    prepared, rule = exported.prepared, DecisionRule(LABELS, "multi", dict.fromkeys(LABELS, 0.4))
    trained = TrainedModel("shapes", rule, exported.head, prepared.spec, prepared.files)
    export(trained, tmp_path)
    published = PublishedModel(tmp_path)
    embeddings = np.random.default_rng(1).normal(size=(64, SIZE)).astype(np.float32)
    outputs = published.call("embedding", embedding=embeddings)
    scores = 1 / (1 + np.exp(-exported.head.logits(embeddings)))
    assert np.allclose(outputs["scores"], scores, rtol=1e-4)
    assert [sum(map(bool, row)) for row in outputs["labels"]] == (scores >= 0.4).sum(1).tolist()
    said = warm_up_requests(tmp_path)
    assert [list(request.output_filter) for request in said[:2]] == [
        [],
        list(prediction_outputs("multi")),
    ]
    described = json.loads((tmp_path / "golden" / "golden.json").read_text("utf-8"))
    for one in described["images"]:
        answer = published.call("embedding", embedding=[one["embedding"]])
        assert answer["labels"][0].tolist() == [label.encode() for label in one["labels"]] or [b""]
        assert answer["label"][0].decode() == one["label"]

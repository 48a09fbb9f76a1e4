"""What becomes of a version's folder: SavedModels old and new, TensorFlow Lite, warm-ups."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow


def run(model: Any, signature: str = "serving_default", **arrays: Any) -> dict[str, Any]:
    definition = model.signatures[signature]
    feeds = {definition.inputs[alias].name: array for alias, array in arrays.items()}
    aliases = sorted(definition.outputs)
    fetches = [definition.outputs[alias].name for alias in aliases]
    return dict(zip(aliases, model.run(feeds, fetches), strict=True))


def load(folder: Path, **options: Any) -> Any:
    from serving.models import loading

    return loading.load(folder, loading.LoadingOptions(**options))


def column(*values: float) -> Any:
    return np.array(values, "float32")[:, None]


@pytest.fixture(scope="module")
def tf1_counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TensorFlow 1 model with state: each run adds one."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("counter") / "model"
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        counter = v1.get_variable("counter", initializer=0.0, use_resource=False)
        increased = v1.assign_add(counter, 1.0)
        session.run(v1.global_variables_initializer())
        info = v1.saved_model.build_tensor_info(increased)
        signature = v1.saved_model.build_signature_def({}, {"output": info}, "predict")
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session, ["serve", "special"], signature_def_map={"incr_counter": signature}
        )
        builder.save()
    return folder


def test_a_tensorflow_1_model_with_state_is_served_by_its_tags(tf1_counter: Path):
    model = load(tf1_counter, saved_model_tags=("serve", "special"))
    counts = [run(model, "incr_counter")["output"].item() for _ in range(3)]
    assert counts == [1.0, 2.0, 3.0]


def test_tags_that_no_graph_has_are_a_refusal(tf1_counter: Path):
    from serving.grpc_status import StatusError

    with pytest.raises(StatusError, match="tags"):
        load(tf1_counter, saved_model_tags=("serve",))


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version folder with a `model.tflite` of two signatures, and nothing else."""
    import tensorflow as tf

    class Lite(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
        def half(self, x: Any) -> dict[str, Any]:
            return {"y": x / 2.0, "twice": x + x}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="x")])
        def plus_one(self, x: Any) -> dict[str, Any]:
            return {"y": x + 1}

    folder = tmp_path_factory.mktemp("lite") / "1"
    module = Lite()
    signatures = {"serving_default": module.half, "plus_one": module.plus_one}
    tf.saved_model.save(module, str(folder.parent / "saved"), signatures)
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder.parent / "saved"), signature_keys=list(signatures)
    )
    folder.mkdir()
    (folder / "model.tflite").write_bytes(converter.convert())
    return folder


def test_a_tflite_models_signatures_answer_at_any_batch_size(lite: Path):
    model = load(lite, prefer_tflite_model=True)
    assert set(model.signatures) == {"serving_default", "plus_one"}
    info = model.signatures["serving_default"].inputs["x"]
    assert info.dtype == 1
    assert [dim.size for dim in info.tensor_shape.dim] == [-1, 1]
    for count in (1, 5, 2):
        answer = run(model, x=column(*range(count)))
        np.testing.assert_array_equal(answer["y"], column(*range(count)) / 2)
        np.testing.assert_array_equal(answer["twice"], column(*range(count)) * 2)
    assert run(model, "plus_one", x=np.array([4, 5], "int32"))["y"].tolist() == [5, 6]


def test_a_tflite_model_answers_many_threads_each_with_its_own(lite: Path):
    model = load(lite, prefer_tflite_model=True, num_tflite_pools=2)

    def ask(number: int) -> bool:
        answer = run(model, x=column(*[number] * (number % 7 + 1)))
        return answer["y"].tolist() == [[number / 2]] * (number % 7 + 1)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))


def test_a_tflite_model_is_strict_on_types(lite: Path):
    from serving.grpc_status import StatusError

    with pytest.raises(StatusError, match=r"to be float but double is provided"):
        run(load(lite, prefer_tflite_model=True), x=column(1.0).astype("float64"))


def test_a_tflite_model_is_strict_on_all_of_a_shape_but_its_rows(lite: Path):
    from serving.grpc_status import StatusError

    model = load(lite, prefer_tflite_model=True)
    for shape in ((), (3,), (3, 2), (1, 3, 1)):
        with pytest.raises(StatusError, match=r"input shape is wrong, expected : \[\?,1\]"):
            run(model, x=np.zeros(shape, "float32"))


def test_a_tflite_model_without_signatures_is_served_under_its_tensors_names(tmp_path: Path):
    (x, y), content = tripling()
    (tmp_path / "model.tflite").write_bytes(content)
    model = load(tmp_path, prefer_tflite_model=True)
    signature = model.signatures["serving_default"]
    assert (list(signature.inputs), list(signature.outputs)) == ([x], [y])
    answer = run(model, **{x: np.array([[1, 2], [3, 4], [5, 6]], "float32")})
    assert answer[y].tolist() == [[3, 6], [9, 12], [15, 18]]


@pytest.mark.parametrize("ending", ["", ":0"])
def test_a_tflite_models_metadata_may_name_its_inputs_and_outputs(tmp_path: Path, ending: str):
    (x, y), content = tripling()
    names = {"apples": x + ending}, {"pears": y + ending}
    (tmp_path / "model.tflite").write_bytes(with_metadata(content, {"any": names}))
    model = load(tmp_path, prefer_tflite_model=True)
    assert set(model.signatures) == {"serving_default"}
    answer = run(model, apples=np.array([[1, 2], [3, 4]], "float32"))
    assert answer["pears"].tolist() == [[3, 6], [9, 12]]


@pytest.mark.parametrize(
    ("signatures", "words"),
    [({"a": ({}, {}), "b": ({}, {})}, "Multiple SignatureDefs"), (b"no map", "Invalid Signature")],
)
def test_metadata_that_names_no_one_signature_is_a_refusal(
    tmp_path: Path, signatures: Any, words: str
):
    from serving.grpc_status import StatusError

    _, content = tripling()
    (tmp_path / "model.tflite").write_bytes(with_metadata(content, signatures))
    with pytest.raises(StatusError, match=words):
        load(tmp_path, prefer_tflite_model=True)


def tripling() -> tuple[tuple[str, str], bytes]:
    """Names of the input and the output of a model without signatures, and the model."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    function = tf.function(
        lambda x: {"y": x * 3.0}, input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")]
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    content = without_signatures(converter.convert())
    interpreter = Interpreter(model_content=content)
    (x,), (y,) = interpreter.get_input_details(), interpreter.get_output_details()
    return (x["name"], y["name"]), content


def with_metadata(content: bytes, signatures: Any) -> bytes:
    """Add SignatureDefs, as name -> (alias -> tensor for inputs, for outputs), or rubbish."""
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    data = signatures if isinstance(signatures, bytes) else flexbuffer(signatures)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data, entry.name, entry.buffer = data, "signature_defs_metadata", len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def flexbuffer(signatures: dict[str, tuple[dict[str, str], dict[str, str]]]) -> bytes:
    from flatbuffers import flexbuffers
    from tensorflow.core.protobuf import meta_graph_pb2

    builder = flexbuffers.Builder()
    with builder.Map():
        for key, (inputs, outputs) in signatures.items():
            signature = meta_graph_pb2.SignatureDef(method_name="tensorflow/serving/predict")
            for alias, name in inputs.items():
                signature.inputs[alias].name = name
            for alias, name in outputs.items():
                signature.outputs[alias].name = name
            builder.Key(key)
            # All its bytes are ASCII: names and lengths are short.
            builder.String(signature.SerializeToString().decode("ascii"))
    return bytes(builder.Finish())


def without_signatures(content: bytes) -> bytes:
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    model.signatureDefs = []
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_tflite_is_a_preference_not_a_demand(half_plus: Any, lite: Path, tmp_path: Path):
    assert run(load(half_plus(3), prefer_tflite_model=True), x=column(2.0))["y"] == 4.0
    from serving.grpc_status import StatusError

    with pytest.raises(StatusError, match="does not exist"):
        load(lite)


def test_a_broken_tflite_model_is_a_refusal(tmp_path: Path):
    from serving.grpc_status import StatusError

    (tmp_path / "model.tflite").write_bytes(b"no flat buffer")
    with pytest.raises(StatusError, match="Cannot build FlatBufferModel"):
        load(tmp_path, prefer_tflite_model=True)


def with_warm_up(source: Path, folder: Path, *values: list[list[float]]) -> Path:
    import shutil

    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    shutil.copytree(source, folder)
    (folder / "assets.extra").mkdir()
    records = str(folder / "assets.extra" / "tf_serving_warmup_requests")
    with tf.io.TFRecordWriter(records) as writer:
        for value in values:
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.inputs["x"].CopyFrom(
                tf.make_tensor_proto(np.array(value, "float32"))
            )
            writer.write(log.SerializeToString())
    return folder


class Counting:
    """A model that counts its runs, and is one in all else."""

    def __init__(self, model: Any) -> None:
        self.model, self.signatures, self.runs = model, model.signatures, 0

    def run(self, *arguments: Any) -> Any:
        self.runs += 1
        return self.model.run(*arguments)


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        ({}, 2),
        ({"num_request_iterations_for_warmup": 3}, 6),
        ({"enable_model_warmup": False}, 0),
    ],
)
def test_warm_up_goes_through_what_the_model_is_wrapped_in(
    half_plus: Any, tmp_path: Path, options: dict, runs: int
):
    folder = with_warm_up(half_plus(2), tmp_path / "1", [[1.0]], [[2.0]])
    wrapped = []

    def wrap(model: Any) -> Counting:
        wrapped.append(Counting(model))
        return wrapped[0]

    load(folder, wrap=wrap, **options)
    assert wrapped[0].runs == runs


def test_warm_ups_are_told_whether_they_succeed_or_not(half_plus: Any, tmp_path: Path):
    from serving.grpc_status import StatusError

    told = []

    def on_warm_up(folder: Path, seconds: float, succeeded: bool) -> None:
        assert seconds > 0
        told.append((folder.name, succeeded))

    load(with_warm_up(half_plus(2), tmp_path / "1", [[1.0]]), on_warm_up=on_warm_up)
    bad = with_warm_up(half_plus(2), tmp_path / "2", [[1.0]])
    records = bad / "assets.extra" / "tf_serving_warmup_requests"
    records.write_bytes(records.read_bytes()[:-3])
    with pytest.raises(StatusError):
        load(bad, on_warm_up=on_warm_up)
    load(half_plus(2), on_warm_up=on_warm_up)
    assert told == [("1", True), ("2", False)]

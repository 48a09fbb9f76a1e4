"""The program, started and asked as TensorFlow Serving's own integration tests start and ask it.

What the other tests of the program and of its parts hold it to already is not held here again.
"""

import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.serving.public_models import (
    signature,
    write_half_plus_three,
    write_half_plus_two,
    write_signatures,
)
from tests.serving.test_model_server import Program, running, until

pytestmark = [pytest.mark.slow, pytest.mark.soak]

SECONDS = 30
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def write_half_plus_two_tf2(folder: Path) -> Path:
    """`y = x / 2 + 2` as TensorFlow 2 saves it: all signatures say that they predict."""
    import tensorflow as tf

    examples = tf.TensorSpec([None], tf.string, name="inputs")

    class HalfPlusTwo(tf.Module):
        def __init__(self) -> None:
            self.a, self.b = tf.Variable(0.5), tf.Variable(2.0)

        def of_examples(self, examples: Any) -> Any:
            features = {"x": tf.io.FixedLenFeature([1], tf.float32)}
            return self.a * tf.io.parse_example(examples, features)["x"] + self.b

        @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
        def predict(self, x: Any) -> dict[str, Any]:
            return {"y": self.a * x + self.b}

        @tf.function(input_signature=[examples])
        def regress(self, inputs: Any) -> dict[str, Any]:
            return {"outputs": self.of_examples(inputs)}

        @tf.function(input_signature=[examples])
        def classify(self, inputs: Any) -> dict[str, Any]:
            return {"scores": self.of_examples(inputs)}

    model = HalfPlusTwo()
    signatures = {
        "serving_default": model.predict,
        "regress_x_to_y": model.regress,
        "classify_x_to_y": model.classify,
    }
    tf.saved_model.save(model, str(folder), signatures)
    return folder


def write_lite(saved_model: Path, folder: Path) -> Path:
    """A version that is nothing but the `model.tflite` of a SavedModel's default signature."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(saved_model), signature_keys=["serving_default"]
    )
    folder.mkdir(parents=True)
    (folder / "model.tflite").write_bytes(converter.convert())
    return folder


def write_counter(folder: Path) -> Path:
    """A model with state, most of whose signatures have no inputs."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        counter = v1.Variable(0.0, name="counter", use_resource=False)
        delta = v1.placeholder(tf.float32, name="delta")
        signatures = {
            "get_counter": signature("predict", {}, {"output": counter}),
            "incr_counter": signature("predict", {}, {"output": counter.assign_add(1.0)}),
            "incr_counter_by": signature(
                "predict", {"delta": delta}, {"output": counter.assign_add(delta)}
            ),
            "reset_counter": signature("predict", {}, {"output": counter.assign(0.0)}),
        }
        session.run(v1.global_variables_initializer())
        return write_signatures(folder, session, signatures)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The base path of each model."""
    folder = tmp_path_factory.mktemp("models")
    write_half_plus_two(folder / "two" / "00000123")
    write_half_plus_three(folder / "two" / "00000124")
    write_half_plus_three(folder / "three" / "00000123")
    write_half_plus_two_tf2(folder / "tf2" / "00000123")
    write_lite(folder / "tf2" / "00000123", folder / "lite" / "00000123")
    write_counter(folder / "counter" / "00000123")
    return {name: folder / name for name in ("two", "three", "tf2", "lite", "counter")}


LABELS = """
model_version_policy { specific { versions: 123 versions: 124 } }
version_labels { key: "stable" value: 123 }
version_labels { key: "canary" value: 124 }
"""


def config(bases: dict[str, Path], *names: str) -> str:
    """A ModelServerConfig of some models; `two` has two versions with labels."""
    models = [
        f'config {{ name: "{name}" base_path: "{bases[name]}" model_platform: "tensorflow"'
        f" {LABELS if name == 'two' else ''} }}"
        for name in names
    ]
    return f"model_config_list {{ {' '.join(models)} }}"


@pytest.fixture(scope="module")
def config_file(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "models.config"
    path.write_text(config(bases, "two", "tf2", "counter"))
    return path


@pytest.fixture(scope="module")
def programs(config_file: Path, bases: dict[str, Path]) -> Iterator[tuple[Program, Program]]:
    """Two programs that are told of one Unix socket: a plain one, then one with many flags.

    The second reads its configuration once and batches, by the parameters of the public tests.
    """
    socket_flag = f"--grpc_socket_path={config_file.parent / 'socket'}"
    batching = config_file.parent / "batching.config"
    batching.write_text("max_batch_size { value: 1 } batch_timeout_micros { value: 0 }")
    once = config_file.parent / "once.config"
    once.write_text(config(bases, "three", "tf2", "lite"))
    with ExitStack() as stack:
        plain = running(
            f"--model_config_file={config_file}",
            "--model_config_file_poll_wait_seconds=0.2",
            "--allow_version_labels_for_unavailable_models",
            f"--rest_api_port={free_port()}",
            socket_flag,
        )
        told = running(
            f"--model_config_file={once}",
            "--model_config_file_poll_wait_seconds=0",
            "--enable_batching",
            f"--batching_parameters_file={batching}",
            "--prefer_tflite_model=true",
            "--enable_serialization_as_tensor_content=true",
            "--enable_signature_method_name_check=true",
            "--rest_api_enable_cors_support=true",
            f"--rest_api_port={free_port()}",
            socket_flag,
        )
        yield stack.enter_context(plain), stack.enter_context(told)


@pytest.fixture
def plain(programs: tuple[Program, Program]) -> Program:
    return programs[0]


@pytest.fixture
def told(programs: tuple[Program, Program]) -> Program:
    return programs[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def predict(program: Program, name: str, signature_name: str = "", **inputs: Any) -> Any:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signature_name
    for alias, value in inputs.items():
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(value, tf.float32))
    return call(program, "Predict", request)


def of_examples(message: Any, x: float, name: str = "", signature_name: str = "") -> Any:
    example = message.input.example_list.examples.add()
    example.features.feature["x"].float_list.value.append(x)
    if name:
        message.model_spec.name, message.model_spec.signature_name = name, signature_name
    return message


def call(program: Program, method: str, request: Any) -> Any:
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    with grpc.insecure_channel(program.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return getattr(stub, method)(request, timeout=SECONDS)


def rest(program: Program, path: str, body: Any = None) -> Any:
    """The JSON that answers a POST, or a GET if there is no body."""
    data = None if body is None else json.dumps(body).encode()
    url = f"http://{program.rest_address}/v1/models/{path}"
    with urllib.request.urlopen(url, data, timeout=SECONDS) as response:
        return json.load(response)


@pytest.mark.parametrize(
    ("place", "y"),
    [("", 4.0), ("/versions/123", 3.0), ("/labels/stable", 3.0), ("/labels/canary", 4.0)],
)
def test_each_rest_call_reaches_the_version_or_label_that_its_path_names(
    plain: Program, place: str, y: float
):
    path = f"two{place}"
    examples = {"examples": [{"x": 2.0}]}
    assert rest(plain, f"{path}:predict", {"instances": [2.0]}) == {"predictions": [y]}
    assert rest(plain, f"{path}:predict", {"inputs": [2.0]}) == {"outputs": [y]}
    regression = {"signature_name": "regress_x_to_y", **examples}
    assert rest(plain, f"{path}:regress", regression) == {"results": [y]}
    classification = {"signature_name": "classify_x_to_y", **examples}
    assert rest(plain, f"{path}:classify", classification) == {"results": [[["", y]]]}
    version = {3.0: "123", 4.0: "124"}[y]
    assert rest(plain, f"{path}/metadata")["model_spec"]["version"] == version


def test_models_of_tensorflow_2_answer_every_call(plain: Program):
    from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

    classification = classification_pb2.ClassificationRequest()
    of_examples(classification, 2.0, "tf2", "classify_x_to_y")
    [classes] = call(plain, "Classify", classification).result.classifications
    assert [each.score for each in classes.classes] == [3.0]
    regression = of_examples(regression_pb2.RegressionRequest(), 2.0, "tf2", "regress_x_to_y")
    assert [v.value for v in call(plain, "Regress", regression).result.regressions] == [3.0]
    several = of_examples(inference_pb2.MultiInferenceRequest(), 2.0)
    for name, method_name in (("regress_x_to_y", REGRESS), ("classify_x_to_y", CLASSIFY)):
        spec = {"name": "tf2", "signature_name": name}
        several.tasks.add(model_spec=spec, method_name=method_name)
    first, second = call(plain, "MultiInference", several).results
    assert first.regression_result.regressions[0].value == 3.0
    assert second.classification_result.classifications[0].classes[0].score == 3.0
    assert {each.model_spec.version.value for each in (first, second)} == {123}


def test_signatures_without_inputs_run_and_keep_a_models_state(plain: Program):
    def ask(signature_name: str, **inputs: float) -> float:
        [value] = predict(plain, "counter", signature_name, **inputs).outputs["output"].float_val
        return float(value)

    assert [ask("get_counter"), ask("incr_counter"), ask("incr_counter")] == [0.0, 1.0, 2.0]
    assert [ask("incr_counter_by", delta=5.0), ask("get_counter"), ask("reset_counter")] == [
        7,
        7,
        0,
    ]


def test_a_unix_socket_is_the_last_programs_that_was_told_of_it(
    programs: tuple[Program, Program], config_file: Path
):
    last = programs[1]
    by_socket = Program(last.process, f"unix:{config_file.parent / 'socket'}")
    assert by_socket.ask("three", 2.0) == (123, 4.0)
    with pytest.raises(grpc.RpcError):
        by_socket.ask("two")


def test_tflite_models_are_preferred_if_asked_for(told: Program):
    assert told.ask("lite", 2.0) == (123, 3.0)
    assert told.ask("tf2", 2.0) == (123, 3.0)


def test_flags_on_how_calls_are_answered_reach_them(told: Program):
    from tensorflow_serving.apis import regression_pb2

    y = predict(told, "three", x=[2.0]).outputs["y"]
    assert (list(y.float_val), len(y.tensor_content)) == ([], 4)
    regression = of_examples(regression_pb2.RegressionRequest(), 2.0, "tf2", "regress_x_to_y")
    with pytest.raises(grpc.RpcError, match="Expected regression signature method_name"):
        call(told, "Regress", regression)
    with urllib.request.urlopen(f"http://{told.rest_address}/v1/models/tf2") as response:
        assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_a_config_file_that_is_polled_replaces_models_and_one_that_is_not_does_nothing(
    programs: tuple[Program, Program], config_file: Path, bases: dict[str, Path]
):
    polling, reading_once = programs
    (config_file.parent / "once.config").write_text(config(bases, "two"))
    config_file.write_text(config(bases, "three"))

    def is_replaced() -> bool:
        try:
            return polling.ask("three", 2.0) == (123, 4.0)
        except grpc.RpcError:
            return False

    until(is_replaced)
    with pytest.raises(grpc.RpcError, match=r"Servable not found for request: Latest\(two\)"):
        polling.ask("two")
    time.sleep(1)
    assert reading_once.ask("three", 2.0) == (123, 4.0)
    with pytest.raises(grpc.RpcError, match=r"Servable not found for request: Latest\(two\)"):
        reading_once.ask("two")

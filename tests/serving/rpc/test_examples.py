"""Classify, Regress and MultiInference by TensorFlow Serving's own stubs, over a socket."""

from typing import Any

import grpc
import pytest

pytestmark = pytest.mark.slow

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
SECONDS = 20
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


def example(**features: float) -> Any:
    from tensorflow.core.example import example_pb2

    made = example_pb2.Example()
    for name, value in features.items():
        made.features.feature[name].float_list.value.append(value)
    return made


def filled(request: Any, examples: Any, context: Any = None) -> Any:
    listed = request.input.example_list
    if context is not None:
        listed = request.input.example_list_with_context
        listed.context.CopyFrom(context)
    listed.examples.extend(examples)
    return request


def classification(signature_name: str, *examples: Any, name: str = "default") -> Any:
    from tensorflow_serving.apis import classification_pb2

    spec = {"name": name, "signature_name": signature_name}
    return filled(classification_pb2.ClassificationRequest(model_spec=spec), examples)


def regression(signature_name: str, *examples: Any, name: str = "default") -> Any:
    from tensorflow_serving.apis import regression_pb2

    spec = {"name": name, "signature_name": signature_name}
    return filled(regression_pb2.RegressionRequest(model_spec=spec), examples)


def tasks(*wanted: tuple[str, str, str], examples: Any = ()) -> Any:
    from tensorflow_serving.apis import inference_pb2

    request = inference_pb2.MultiInferenceRequest()
    for name, signature_name, method_name in wanted:
        spec = {"name": name, "signature_name": signature_name}
        request.tasks.add(model_spec=spec, method_name=method_name)
    return filled(request, examples)


def refusal(call: Any, message: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(message, timeout=SECONDS)
    return caught.value.code(), caught.value.details()


def test_classify_scores_the_public_tests_model(public_stub: Any):
    message = classification("classify_x_to_y", example(x=2.0))
    response = public_stub.Classify(message, timeout=SECONDS)
    [classes] = response.result.classifications
    assert [(each.label, each.score) for each in classes.classes] == [("", 3.0)]
    assert response.model_spec.name == "default"
    assert response.model_spec.signature_name == "classify_x_to_y"
    assert response.model_spec.version.value == 123


def test_regress_gives_each_example_a_value(public_stub: Any):
    message = regression("regress_x_to_y", example(x=2.0), example(x=4.0))
    response = public_stub.Regress(message, timeout=SECONDS)
    assert [each.value for each in response.result.regressions] == [3.0, 4.0]
    assert response.model_spec.name == "default"
    assert response.model_spec.signature_name == "regress_x_to_y"
    assert response.model_spec.version.value == 123


def test_a_feature_that_is_missing_has_the_graphs_default(public_stub: Any):
    message = regression("regress_examples_x2_to_y3", example(x=2.0), example(x=2.0, x2=4.0))
    response = public_stub.Regress(message, timeout=SECONDS)
    assert [each.value for each in response.result.regressions] == [3.0, 5.0]


def test_the_context_stands_before_every_example(public_stub: Any):
    message = filled(
        regression("regress_x_to_y"), [example(), example(x=4.0)], context=example(x=2.0)
    )
    response = public_stub.Regress(message, timeout=SECONDS)
    assert [each.value for each in response.result.regressions] == [3.0, 4.0]


def test_several_signatures_run_over_the_same_examples(public_stub: Any):
    message = tasks(
        ("default", "regress_x_to_y", REGRESS),
        ("default", "classify_x_to_y", CLASSIFY),
        ("default", "regress_x_to_y2", REGRESS),
        examples=[example(x=2.0)],
    )
    response = public_stub.MultiInference(message, timeout=SECONDS)
    first, second, third = response.results
    assert first.regression_result.regressions[0].value == 3.0
    assert second.classification_result.classifications[0].classes[0].score == 3.0
    assert third.regression_result.regressions[0].value == 4.0
    assert second.model_spec.signature_name == "classify_x_to_y"
    assert {each.model_spec.version.value for each in response.results} == {123}


def test_signatures_with_inputs_of_their_own_all_get_the_examples(public_stub: Any):
    # As TensorFlow 2 saves them: each signature has a placeholder of its own.
    message = tasks(("odd", "flat", REGRESS), ("odd", "other", REGRESS), examples=[example(x=1)])
    first, second = public_stub.MultiInference(message, timeout=SECONDS).results
    size = example(x=1).ByteSize()
    assert [each.value for each in first.regression_result.regressions] == [size]
    assert [each.value for each in second.regression_result.regressions] == [-size]


def test_labels_and_scores_come_in_pairs(public_stub: Any):
    response = public_stub.Classify(
        classification("both", example(x=1), name="odd"), timeout=SECONDS
    )
    size = example(x=1).ByteSize()
    [classes] = response.result.classifications
    assert [each.score for each in classes.classes] == [size, -size]
    assert classes.classes[0].label == example(x=1).SerializeToString().decode(errors="replace")


def test_labels_alone_are_enough(public_stub: Any):
    message = classification("classes", example(), name="odd")
    [classes] = public_stub.Classify(message, timeout=SECONDS).result.classifications
    assert [(each.label, each.score) for each in classes.classes] == [("", 0.0), ("", 0.0)]


def test_the_method_name_of_a_signature_is_not_checked(public_stub: Any):
    message = classification("named_predict", example(), name="odd")
    assert len(public_stub.Classify(message, timeout=SECONDS).result.classifications) == 1


def test_regress_takes_a_flat_output(public_stub: Any):
    message = regression("flat", example(x=1), example(), name="odd")
    values = public_stub.Regress(message, timeout=SECONDS).result.regressions
    assert [each.value for each in values] == [example(x=1).ByteSize(), 0.0]


@pytest.mark.parametrize(
    ("name", "signature_name", "code", "text"),
    [
        ("", "classify_x_to_y", INVALID, "ModelSpec has no name specified."),
        ("none", "x", NOT_FOUND, "Servable not found for request: Latest(none)"),
        ("default", "X", INVALID, "No signature was found with the name: X"),
        ("default", "", INVALID, "No classification inputs found in SignatureDef: "),
        ("odd", "two_inputs", INVALID, "Expected one input Tensor."),
        ("odd", "no_outputs", INVALID, "Expected one or two output Tensors, found 0"),
        ("odd", "no_inputs", INVALID, "No classification inputs found in SignatureDef: inputs {"),
        (
            "odd",
            "other_outputs",
            INVALID,
            'Expected classification signature outputs to contain at least one of "classes" or'
            ' "scores". Signature was: inputs {',
        ),
        (
            "odd",
            "flat_scores",
            INVALID,
            "Expected Tensor shape: [batch_size num_classes] but got [2]",
        ),
        ("odd", "text_scores", INVALID, "Expected scores Tensor of DT_FLOAT. Got: DT_STRING"),
        ("odd", "number_classes", INVALID, "Expected classes Tensor of DT_STRING. Got: DT_FLOAT"),
        ("odd", "few_scores", INVALID, "Expected scores output batch size of 2. Got: 1"),
        ("odd", "few_classes", INVALID, "Expected classes output batch size of 2. Got: 1"),
        (
            "odd",
            "unlike",
            INVALID,
            "Tensors class and score should match in dim_size(1). Got 1 vs. 2",
        ),
        ("odd", "failing", INVALID, "assertion failed: [lengths are never negative]"),
        (
            "default",
            "classify_x2_to_y3",
            INVALID,
            "Expects arg[0] to be float but string is provided",
        ),
    ],
)
def test_a_refusal_to_classify_has_the_stock_servers_code_and_text(
    public_stub: Any, name: str, signature_name: str, code: grpc.StatusCode, text: str
):
    message = classification(signature_name, example(), example(), name=name)
    got, details = refusal(public_stub.Classify, message)
    assert got == code
    assert details.startswith(text)


@pytest.mark.parametrize(
    ("name", "signature_name", "text"),
    [
        ("", "regress_x_to_y", "ModelSpec has no name specified."),
        ("default", "X", "No signature was found with the name: X"),
        ("default", "", "No regression inputs found in SignatureDef: "),
        ("odd", "two_inputs", "Expected one input Tensor."),
        ("odd", "both", "Expected one output Tensor."),
        ("odd", "unnamed", "No regression outputs found in SignatureDef: "),
        (
            "odd",
            "wide",
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got"
            " [2,2]",
        ),
        ("odd", "few", "Input batch size did not match output batch size: 2 vs. 1"),
        ("odd", "text", "Expected output Tensor of DT_FLOAT.  Got: DT_STRING"),
    ],
)
def test_a_refusal_to_regress_has_the_stock_servers_code_and_text(
    public_stub: Any, name: str, signature_name: str, text: str
):
    message = regression(signature_name, example(), example(), name=name)
    code, details = refusal(public_stub.Regress, message)
    assert code == INVALID
    assert details.startswith(text)


@pytest.mark.parametrize("call", ["Classify", "Regress"])
def test_a_request_without_a_model_spec_is_refused(public_stub: Any, call: str):
    from tensorflow_serving.apis import classification_pb2

    empty = classification_pb2.ClassificationRequest()
    assert refusal(getattr(public_stub, call), empty) == (INVALID, "Missing ModelSpec")


@pytest.mark.parametrize("context", [None, example])
def test_an_input_without_examples_is_refused(public_stub: Any, context: Any):
    made = context and context()
    message = filled(classification("classify_x_to_y"), [], made)
    assert refusal(public_stub.Classify, message) == (INVALID, "Input is empty.")


@pytest.mark.parametrize(
    ("wanted", "code", "text"),
    [
        ([], INVALID, "ModelSpec has no name specified."),
        ([("", "a", REGRESS)], INVALID, "ModelSpec has no name specified."),
        ([("none", "a", REGRESS)], NOT_FOUND, "Servable not found for request: Latest(none)"),
        (
            [("default", "regress_x_to_y", REGRESS), ("", "classify_x_to_y", CLASSIFY)],
            INVALID,
            "Found ModelSpec with an empty model name.",
        ),
        (
            [("default", "regress_x_to_y", REGRESS), ("odd", "classify_x_to_y", CLASSIFY)],
            INVALID,
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (
            [("default", "regress_x_to_y", REGRESS), ("default", "regress_x_to_y", CLASSIFY)],
            INVALID,
            "Duplicate evaluation of signature: regress_x_to_y",
        ),
        (
            [("default", "X", REGRESS)],
            INVALID,
            "Requested signature not found in model graph: X",
        ),
        (
            [("default", "serving_default", "tensorflow/serving/predict")],
            grpc.StatusCode.UNIMPLEMENTED,
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        ([("odd", "wide", REGRESS)], INVALID, "Input is empty."),
        ([("odd", "flat", REGRESS), ("odd", "other", REGRESS)], INVALID, "Input is empty."),
    ],
)
def test_tasks_that_do_not_fit_have_the_stock_servers_code_and_text(
    public_stub: Any, wanted: Any, code: grpc.StatusCode, text: str
):
    assert refusal(public_stub.MultiInference, tasks(*wanted)) == (code, text)


def test_scalar_outputs_of_every_kind_come_back(public_stub: Any):
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    message = predict_pb2.PredictRequest(inputs={"x": tf.make_tensor_proto([b"abc"])})
    message.model_spec.name, message.model_spec.signature_name = "odd", "scalars"
    outputs = public_stub.Predict(message, timeout=SECONDS).outputs
    assert tf.make_ndarray(outputs["text"]).item() == b"abc"
    assert tf.make_ndarray(outputs["length"]).item() == 3.0

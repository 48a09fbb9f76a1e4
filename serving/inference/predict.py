"""What Predict does between a request and its answer, in TensorFlow Serving's order and words.

Follows `servables/tensorflow/predict_util.cc` and TensorFlow's `cc/saved_model/util.cc`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc
from numpy.typing import NDArray
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2

from serving.grpc_status import StatusError, invalid_argument
from serving.inference import classify, regress
from serving.inference.options import AS_STOCK, InferenceOptions
from serving.inference.signatures import signature_name, spec_of_answer
from serving.models.servable import Feeds, Servable
from serving.protocol import tensors

_MOST_REPEATED_VALUES, _MOST_REPEATED_STRINGS = 2**24, 2**16
_METHOD_NAMES = ("tensorflow/serving/predict", classify.METHOD_NAME, regress.METHOD_NAME)


def answer(
    model: Servable,
    request: predict_pb2.PredictRequest,
    timeout_seconds: float | None = None,
    options: InferenceOptions = AS_STOCK,
) -> predict_pb2.PredictResponse:
    """Run one request; the answer's ModelSpec lacks the version, which a model does not know.

    Raises:
        StatusError: the request does not fit the model, or the model refuses it.
    """
    signature = _signature(model, signature_name(request.model_spec))
    check_method_name(signature, options)
    check_input_count(signature, request.inputs)
    feeds = _feeds(signature, request)
    aliases = _output_aliases(signature, request.output_filter)
    response = predict_pb2.PredictResponse(model_spec=spec_of_answer(request.model_spec))
    tensor_names = {alias: signature.outputs[alias].name for alias in aliases}
    as_content = options.enable_serialization_as_tensor_content
    fill = tensors.fill_content if as_content else tensors.fill_values
    for alias, array in run(model, feeds, tensor_names, timeout_seconds).items():
        fill(response.outputs[alias], array)
    return response


def check_input_count(signature: Any, aliases: Iterable[str]) -> None:
    """Refuse more inputs than a signature has, or fewer if it has no defaults.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    sent, required = set(aliases), set(signature.inputs)
    if len(sent) == len(required) or (len(sent) < len(required) and signature.defaults):
        return
    raise invalid_argument(
        f"input size does not match signature: {len(sent)}!={len(required)}"
        f" len({_braced(sent)}) != len({_braced(required)})."
        f" Sent extra: {_braced(sent - required)}."
        f" Missing but required: {_braced(required - sent)}."
    )


def check_method_name(signature: Any, options: InferenceOptions) -> None:
    """Refuse a signature that was saved for none of TensorFlow Serving's calls, if asked to.

    Raises:
        StatusError: INTERNAL, it was.
    """
    is_checked = options.enable_signature_method_name_check
    if is_checked and signature.method_name not in _METHOD_NAMES:
        raise StatusError(
            grpc.StatusCode.INTERNAL,
            "Expected prediction signature method_name to be one of"
            f" {{{', '.join(_METHOD_NAMES)}}}. Was: {signature.method_name}",
        )


def run(
    model: Servable, feeds: Feeds, outputs: Mapping[str, str], timeout_seconds: float | None = None
) -> dict[str, NDArray[Any]]:
    """Compute outputs, given as alias -> tensor name, from arrays by tensor name.

    Raises:
        StatusError: the model refuses the request.
    """
    arrays = model.run(feeds, list(outputs.values()), timeout_seconds)
    return dict(zip(outputs, arrays, strict=True))


def _signature(model: Servable, name: str) -> Any:
    # `in` first: looking up an absent key of a message map inserts it.
    if name not in model.signatures:
        raise StatusError(
            grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.'
        )
    return model.signatures[name]


def _feeds(signature: Any, request: predict_pb2.PredictRequest) -> dict[str, NDArray[Any]]:
    feeds = {
        info.name: _parsed(alias, _input(signature, request, alias))
        for alias, info in sorted(signature.inputs.items())
    }
    if extra := set(request.inputs) - set(signature.inputs):
        raise invalid_argument(
            "Inputs contains invalid name. Used request inputs: "
            f"{_joined(set(request.inputs) - extra)}, request input: {_joined(request.inputs)}"
        )
    return feeds


def _input(signature: Any, request: predict_pb2.PredictRequest, alias: str) -> Any:
    if alias in request.inputs:
        return request.inputs[alias]
    if alias in signature.defaults:
        return signature.defaults[alias]
    raise invalid_argument(
        f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found in"
        " request and no default value provided. Inputs expected to be in the request"
        f" {_braced(request.inputs)}, or default input alias set: {_joined(signature.defaults)}"
    )


def _parsed(alias: str, tensor: Any) -> NDArray[Any]:
    try:
        _check_swelling(tensor)
        return tensors.to_array(tensor)
    except (ValueError, MemoryError) as error:
        raise invalid_argument(f"tensor parsing error: {alias}") from error


def _check_swelling(tensor: Any) -> None:
    """Refuse a few bytes that mean more than memory: a value that stands for all of a shape."""
    count = math.prod(dim.size for dim in tensor.tensor_shape.dim)
    of_strings = tensor.dtype == types_pb2.DT_STRING
    most = _MOST_REPEATED_STRINGS if of_strings else _MOST_REPEATED_VALUES
    if count > most and count > tensor.ByteSize():
        raise ValueError("a small tensor of a vast shape")


def _output_aliases(signature: Any, output_filter: Sequence[str]) -> Sequence[str]:
    if not output_filter:
        return sorted(signature.outputs)
    seen: set[str] = set()
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias}"
                f" Outputs expected to be in the set {_braced(signature.outputs)}."
            )
        if alias in seen:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        seen.add(alias)
    return output_filter


def _joined(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def _braced(names: Iterable[str]) -> str:
    return "{" + _joined(names) + "}"

"""Which SignatureDef a request means, and how refusals name tensors of it."""

from typing import Any

import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import model_pb2

from linnaeus.signatures import SERVING_DEFAULT
from serving.grpc_status import invalid_argument
from serving.inference.options import InferenceOptions
from serving.models.servable import Servable


def signature_name(model_spec: Any) -> str:
    """The signature that a ModelSpec asks for."""
    return model_spec.signature_name or SERVING_DEFAULT


def spec_of_answer(model_spec: Any) -> model_pb2.ModelSpec:
    """An answer's ModelSpec; it lacks the version, which a model does not know."""
    return model_pb2.ModelSpec(name=model_spec.name, signature_name=signature_name(model_spec))


def signature_of_examples(model: Servable, model_spec: Any) -> Any:
    """The SignatureDef that a Classify or Regress request asks for.

    Raises:
        StatusError: INVALID_ARGUMENT, the model has none of that name.
    """
    name = signature_name(model_spec)
    # `in` first: looking up an absent key of a message map inserts it.
    if name not in model.signatures:
        raise invalid_argument(f"No signature was found with the name: {name}")
    return model.signatures[name]


def check_takes_examples(
    signature: Any, method_name: str, kind: str, options: InferenceOptions
) -> None:
    """Refuse a signature of another method, if asked to, or of more inputs than one.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    if options.enable_signature_method_name_check and signature.method_name != method_name:
        raise invalid_argument(
            f"Expected {kind} signature method_name to be {method_name}."
            f" Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")


def shape_text(array: NDArray[Any]) -> str:
    """A shape as TensorFlow prints it, `[2,3]`."""
    return f"[{','.join(map(str, array.shape))}]"


def type_text(array: NDArray[Any]) -> str:
    """A type as TensorFlow prints it, `DT_FLOAT`."""
    return str(types_pb2.DataType.Name(tf.as_dtype(array.dtype).as_datatype_enum))

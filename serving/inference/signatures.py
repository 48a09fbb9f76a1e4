"""Which SignatureDef a request means, and how refusals name tensors of it."""

from typing import Any

import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.framework import types_pb2

from serving.models.servable import Servable
from serving.status import invalid_argument

DEFAULT_SIGNATURE = "serving_default"


def signature_name(model_spec: Any) -> str:
    """The signature that a ModelSpec asks for."""
    return model_spec.signature_name or DEFAULT_SIGNATURE


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


def shape_text(array: NDArray[Any]) -> str:
    """A shape as TensorFlow prints it, `[2,3]`."""
    return f"[{','.join(map(str, array.shape))}]"


def type_text(array: NDArray[Any]) -> str:
    """A type as TensorFlow prints it, `DT_FLOAT`."""
    return str(types_pb2.DataType.Name(tf.as_dtype(array.dtype).as_datatype_enum))

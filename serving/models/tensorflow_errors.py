"""TensorFlow's errors as refusals of the same code and text."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import tensorflow as tf

from serving.status import StatusError

_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


@contextmanager
def tensorflow_errors() -> Iterator[None]:
    """Turn TensorFlow's errors into `StatusError`."""
    try:
        yield
    except tf.errors.OpError as error:
        code = _BY_NUMBER.get(error.error_code, grpc.StatusCode.UNKNOWN)
        raise StatusError(code, error.message) from error

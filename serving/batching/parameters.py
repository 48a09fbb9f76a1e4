"""How requests are put together into batches: TensorFlow Serving's `batching_parameters_file`."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from linnaeus.errors import ConfigurationError
from serving.config import text_format
from serving.protocol.messages import Schema, declare

FULL_NAME = "tensorflow.serving.BatchingParameters"

# The fields of `servables/tensorflow/session_bundle_config.proto`. A parameters file names its
# fields, so that numbers matter to nobody.
_SCHEMA: Schema = {
    "Int64Value": {"value": (1, "int64")},
    "StringValue": {"value": (1, "string")},
    "BoolValue": {"value": (1, "bool")},
    "BatchingParameters": {
        "max_batch_size": (1, "Int64Value"),
        "batch_timeout_micros": (2, "Int64Value"),
        "max_enqueued_batches": (3, "Int64Value"),
        "num_batch_threads": (4, "Int64Value"),
        "thread_pool_name": (5, "StringValue"),
        "allowed_batch_sizes": (6, "repeated int64"),
        "pad_variable_length_inputs": (7, "bool"),
        "enable_large_batch_splitting": (8, "BoolValue"),
        "max_execution_batch_size": (9, "Int64Value"),
    },
}
_Message: Any = declare("linnaeus.batching", _SCHEMA)["BatchingParameters"]


@dataclass(frozen=True)
class BatchingParameters:
    """Sizes are in rows. The defaults are TensorFlow Serving's own.

    Raises:
        ConfigurationError: they contradict each other, in the words of `batching_session.cc`,
            `bundle_factory_util.h` and TensorFlow's `shared_batch_scheduler.h`.
    """

    max_batch_size: int = 1000
    """Most rows of a request; most rows of a batch, too, unless large requests are split."""
    batch_timeout_micros: int = 0
    """How long a batch that is not full waits for more, though a thread is free."""
    max_enqueued_batches: int = 10
    """Batches that may wait for a thread, of each signature; what comes then is refused."""
    num_batch_threads: int = os.cpu_count() or 1
    """Batches that run at a time, of all models together."""
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    """Ascending; a batch is filled up to the next of these by repeating a row."""
    pad_variable_length_inputs: bool = False
    """Whether rows of unequal shapes are filled up to the largest, with their first value."""
    enable_large_batch_splitting: bool = False
    """Whether a request that is too large for a batch is spread over several."""
    max_execution_batch_size: int | None = None
    """Most rows of a batch when large requests are split; None means `max_batch_size`."""

    def __post_init__(self) -> None:
        for text in (*self._wrong_sizes(), *self._wrong_numbers()):
            raise ConfigurationError(text)

    @property
    def batch_rows(self) -> int:
        """Most rows of a batch, before it is filled up."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size is not None:
            return self.max_execution_batch_size
        return self.max_batch_size

    def rounded(self, rows: int) -> int:
        """The smallest allowed size that holds so many rows."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)

    def _wrong_sizes(self) -> Iterator[str]:
        sizes = self.allowed_batch_sizes
        if sizes and sizes[-1] != self.max_batch_size:
            yield (
                "Last entry in allowed_batch_sizes must match max_batch_size;"
                f" last entry was {sizes[-1]}; expected {self.max_batch_size}"
            )
        if any(left >= right for left, right in pairwise(sizes)):
            yield "allowed_batch_sizes entries must be monotonically increasing"
        if self.max_batch_size < 1:
            yield f"input_batch_size_limit must be positive; was {self.max_batch_size}"
        elif not 1 <= self.batch_rows <= self.max_batch_size:
            yield (
                "When enable_large_batch_splitting is true, input_batch_size_limit must be"
                " greater than or equal to max_execution_batch_size."
            )

    def _wrong_numbers(self) -> Iterator[str]:
        if self.num_batch_threads < 1:
            yield f"num_batch_threads must be positive; was {self.num_batch_threads}"
        if self.batch_timeout_micros < 0:
            yield f"batch_timeout_micros must be non-negative; was {self.batch_timeout_micros}"
        # Without splitting, TensorFlow takes a limit of 0 for 1.
        if self.max_enqueued_batches < self.enable_large_batch_splitting:
            yield f"max_enqueued_batches must be positive; was {self.max_enqueued_batches}"


def read(path: str) -> BatchingParameters:
    """The parameters in a file; what it leaves out has its default.

    Raises:
        ConfigurationError: the file cannot be read, is no `BatchingParameters` in text form, or
            its values contradict each other.
    """
    message = text_format.read(path, _Message, FULL_NAME)
    try:
        return BatchingParameters(**_given(message))
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}; correct {path}") from error


def _given(message: Any) -> dict[str, Any]:
    """The fields that are set, out of their wrappers."""
    values = {field.name: value for field, value in message.ListFields()}
    given = {name: getattr(value, "value", value) for name, value in values.items()}
    if "allowed_batch_sizes" in given:
        given["allowed_batch_sizes"] = tuple(given["allowed_batch_sizes"])
    return given

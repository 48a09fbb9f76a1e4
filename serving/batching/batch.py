"""One batch: rows of several requests joined, run at once, and given back to each.

Follows `batching/batching_session.cc` and `batching_util.cc`, with their words of refusal.
"""

from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from serving.batching.parameters import BatchingParameters
from serving.grpc_status import StatusError, invalid_argument
from serving.models.servable import Feeds

MOST_PADDED_DIMENSIONS = 6


def row_count(feeds: Feeds) -> int:
    """How many rows a request has: the zeroth dimension, on which its inputs must agree.

    Raises:
        StatusError: they do not, or there is none.
    """
    if not feeds:
        raise invalid_argument("Batching Run() must have at least one input tensor")
    if any(array.ndim == 0 for array in feeds.values()):
        raise invalid_argument("Batching Run() input tensors must have at least one dimension")
    sizes = {len(array) for array in feeds.values()}
    if len(sizes) > 1:
        raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()


def kind(feeds: Feeds, parameters: BatchingParameters) -> object:
    """What requests must have in common to stand in one batch: types and the shapes of rows.

    TensorFlow Serving fails a batch whose rows have unequal shapes, and so one client's request
    for another's; here they stand in batches of their own.
    """
    if parameters.pad_variable_length_inputs:
        return {name: (array.dtype, array.ndim) for name, array in feeds.items()}
    return {name: (array.dtype, array.shape[1:]) for name, array in feeds.items()}


def merge(requests: Sequence[Feeds], parameters: BatchingParameters) -> dict[str, NDArray[Any]]:
    """The requests' rows as one request, filled up to an allowed size by repeating the last row.

    Raises:
        StatusError: rows of unequal shapes cannot be padded.
    """
    rows = sum(row_count(feeds) for feeds in requests)
    missing = parameters.rounded(rows) - rows if rows else 0
    return {name: _joined([feeds[name] for feeds in requests], missing) for name in requests[0]}


def split(outputs: Sequence[NDArray[Any]], sizes: Sequence[int], rows: int) -> list[list[Any]]:
    """Each request's part of the outputs, as views.

    Args:
        outputs: of a batch of `rows` rows, of which the first belong to requests.
        sizes: rows of each request, in order.
        rows: how many the model was given.

    Raises:
        StatusError: an output does not have a row for each row.
    """
    for output in outputs:
        _check_rows(output, rows)
    parts, start = [], 0
    for size in sizes:
        parts.append([output[start : start + size] for output in outputs])
        start += size
    return parts


def _joined(arrays: Sequence[NDArray[Any]], missing: int) -> NDArray[Any]:
    arrays = _padded(arrays)
    if missing:
        last = next(array[-1:] for array in reversed(arrays) if len(array))
        arrays = [*arrays, np.repeat(last, missing, axis=0)]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _padded(arrays: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) == 1:
        return arrays
    if arrays[0].ndim > MOST_PADDED_DIMENSIONS:
        raise invalid_argument("Only tensors with rank from 1 to 6 can be padded.")
    largest = tuple(np.max(list(shapes), axis=0).tolist())
    return [array if array.shape[1:] == largest else _grown(array, largest) for array in arrays]


def _grown(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if not len(array):
        return np.empty((0, *shape), array.dtype)
    if not array.size:
        raise invalid_argument("Got empty tensor in batch of non-empty tensors.")
    grown = np.full((len(array), *shape), array.flat[0], array.dtype)
    grown[tuple(slice(size) for size in array.shape)] = array
    return grown


def _check_rows(output: NDArray[Any], rows: int) -> None:
    if output.ndim == 0:
        raise _failed_precondition("Batched output tensor has 0 dimensions")
    if len(output) != rows:
        raise _failed_precondition(
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension"
            " sizes of the input tensors"
        )


def _failed_precondition(text: str) -> StatusError:
    return StatusError(grpc.StatusCode.FAILED_PRECONDITION, text)

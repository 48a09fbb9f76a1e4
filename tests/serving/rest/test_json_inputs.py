"""Arrays made at once from JSON, against numbers taken one by one."""

import math
import struct
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

FLOAT, DOUBLE, INT32, STRING, INT64, BOOL, UINT64 = 1, 2, 3, 7, 9, 10, 23
UNHURRIED = settings(deadline=None)  # the first example imports TensorFlow
SCALARS = st.one_of(
    st.floats(),
    st.integers(-(2**65), 2**65),
    st.sampled_from([2**24 - 1, 2**24, 2**31, 2**53, 2**63, 3.5e38, 1e300, 0, 1.5]),
    st.booleans(),
    st.sampled_from(["a", None]),
)


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=3), max_leaves=6)


def one_kind(scalar: Any) -> st.SearchStrategy[Any]:
    return nested(st.just(scalar) | st.sampled_from([scalar, 1, 1.5]))


VALUES = nested(SCALARS) | SCALARS.flatmap(one_kind)


def shape_of(value: Any) -> list[int]:
    if not isinstance(value, list):
        return []
    return [len(value), *(shape_of(value[0]) if value else [])]


def leaves_of(value: Any, shape: list[int]) -> list[Any] | None:
    if not isinstance(value, list):
        return [value] if not shape else None
    if not shape or len(value) != shape[0]:
        return None
    leaves = []
    for item in value:
        found = leaves_of(item, shape[1:])
        if found is None:
            return None
        leaves += found
    return leaves


def fits(value: Any, dtype: int) -> bool:
    if dtype in {INT32, INT64, UINT64}:
        low, high = {INT32: (-(2**31), 2**31), INT64: (-(2**63), 2**63), UINT64: (0, 2**64)}[dtype]
        return type(value) is int and low <= value < high
    if dtype == BOOL:
        return type(value) is bool
    if dtype == STRING:
        return type(value) is str
    return type(value) in {int, float}


def expected(value: Any, dtype: int) -> np.ndarray | None:
    shape = shape_of(value)
    leaves = leaves_of(value, shape)
    if leaves is None or not all(fits(leaf, dtype) for leaf in leaves):
        return None
    names = {FLOAT: "f4", DOUBLE: "f8", INT32: "i4", INT64: "i8", UINT64: "u8", BOOL: "?"}
    array = np.empty(shape, names.get(dtype, object))
    for index, leaf in zip(np.ndindex(*shape), leaves, strict=True):
        with np.errstate(over="ignore"):
            array[index] = leaf.encode() if isinstance(leaf, str) else leaf
    return array


@UNHURRIED
@given(VALUES, st.sampled_from([FLOAT, DOUBLE, INT32, STRING, INT64, BOOL, UINT64]))
def test_columns_are_read_as_one_by_one(value: Any, dtype: int):
    from serving.grpc_status import StatusError
    from serving.rest.reading import to_array

    wanted = expected(value, dtype)
    if wanted is None:
        with pytest.raises(StatusError):
            to_array(value, dtype)
        return
    array = to_array(value, dtype)
    assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape)
    np.testing.assert_array_equal(array, wanted)


@pytest.mark.parametrize("dtype", [4, 5, 6, 8, 14, 17, 18, 19, 22])
def test_no_values_at_all_are_an_array_of_any_type(dtype: int):
    from serving.protocol.tensors import dtype_of
    from serving.rest.reading import to_array

    for value, shape in (([], (0,)), ([[], []], (2, 0))):
        array = to_array(value, dtype)
        assert (array.dtype, array.shape) == (dtype_of(dtype), shape)


def read(form: str, leaves: list[Any]) -> Any:
    from serving.rest.reading import columns_of_inputs, columns_of_instances

    rows = [leaves[start : start + 2] for start in range(0, len(leaves), 2)]
    if form == "flat":
        return columns_of_inputs(leaves, {"x": FLOAT})
    if form == "nested":
        return columns_of_inputs([[rows]], {"x": FLOAT})
    instances = rows if form == "rows" else [{"x": row} for row in rows]
    return columns_of_instances(instances, {"x": FLOAT})


def calls_of_python(work: Callable[[], object]) -> int:
    calls = []
    sys.setprofile(lambda frame, event, _: calls.append(event) if event == "call" else None)
    try:
        work()
    finally:
        sys.setprofile(None)
    return len(calls)


@pytest.mark.parametrize("at", [0, 1, 19_999, 39_999])
@pytest.mark.parametrize("form", ["flat", "nested", "rows", "objects"])
def test_one_wrong_value_among_many_is_named_and_costs_little_more_than_good_ones(
    form: str, at: int
):
    from serving.grpc_status import StatusError

    leaves: list[Any] = [0.5] * 40_000
    good = calls_of_python(lambda: read(form, leaves))
    leaves[at] = "x"

    def refuse() -> None:
        with pytest.raises(StatusError) as caught:
            read(form, leaves)
        assert 'JSON Value: "x" Type: String is not of expected type: float' in caught.value.text
        if form in {"rows", "objects"}:
            assert f"Failed to process element: {at // 2} " in caught.value.text

    # A look at each value alone would be 40,000 calls.
    assert calls_of_python(refuse) < 2 * good + 5_000


@UNHURRIED
@given(st.lists(VALUES, min_size=1, max_size=4), st.sampled_from([FLOAT, INT64, STRING]))
def test_rows_are_read_as_columns_are(rows: list[Any], dtype: int):
    from serving.grpc_status import StatusError
    from serving.rest.reading import columns_of_instances

    wanted = expected(rows, dtype)
    for instances in (rows, [{"x": row} for row in rows]):
        if wanted is None:
            with pytest.raises(StatusError):
                columns_of_instances(instances, {"x": dtype})
        else:
            np.testing.assert_array_equal(
                columns_of_instances(instances, {"x": dtype})["x"], wanted
            )


@UNHURRIED
@given(st.lists(st.floats(width=32) | st.integers(-(2**24), 2**24).map(float), max_size=8))
def test_decimals_are_written_as_one_by_one(values: list[float]):
    from serving.rest.json_outputs import decimal_texts

    def text(value: float) -> str:
        if math.isnan(value):
            return "NaN"
        if abs(value) == float("inf"):
            return "Infinity" if value > 0 else "-Infinity"
        short = f"{value:.6g}"
        exact = (
            struct.unpack("f", struct.pack("f", float(short)))[0] == value
            if (abs(float(short)) <= 3.4028234663852886e38)
            else False
        )
        digits = short if exact else f"{value:.9g}"
        return digits if "." in digits or "e" in digits else f"{digits}.0"

    array = np.array(values, np.float32)
    texts = decimal_texts(array)
    assert texts == [text(value) for value in values]
    np.testing.assert_array_equal(np.array([float(each) for each in texts], np.float32), array)

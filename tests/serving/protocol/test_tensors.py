"""Property tests against TensorFlow's own conversions, and against the real stubs' bytes."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.protocol import tensors, wire

NUMERIC = [
    "float32", "float64", "float16", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128",
]  # fmt: skip

bfloat16_arrays = hnp.arrays("uint16", hnp.array_shapes(min_dims=0, min_side=0)).map(
    lambda bits: bits.view(ml_dtypes.bfloat16)
)
numeric_arrays = (
    hnp.arrays(st.sampled_from(NUMERIC), hnp.array_shapes(min_dims=0, min_side=0)) | bfloat16_arrays
)
string_arrays = st.lists(st.binary(max_size=200), max_size=9).map(
    lambda values: np.array([*values, None], object)[:-1]
)
arrays = st.one_of(numeric_arrays, string_arrays)


def equal(left: np.ndarray, right: np.ndarray) -> None:
    assert left.dtype == right.dtype
    if left.dtype == ml_dtypes.bfloat16:  # whose NaN NumPy's test does not know
        left, right = left.astype(np.float32), right.astype(np.float32)
    np.testing.assert_array_equal(left, right)


@given(arrays)
def test_content_comes_back(array: np.ndarray):
    tensor = wire.TensorProto()
    tensors.fill_content(tensor, array)
    equal(tensors.to_array(tensor), array)


@given(arrays)
def test_typed_values_come_back(array: np.ndarray):
    tensor = wire.TensorProto()
    tensors.fill_values(tensor, array)
    assert not tensor.tensor_content
    equal(tensors.to_array(tensor), array)


def test_a_short_field_repeats_its_last_value_and_an_empty_one_means_zeros():
    tensor = wire.TensorProto(dtype=1, float_val=[1, 2])
    tensor.tensor_shape.dim.add(size=4)
    equal(tensors.to_array(tensor), np.array([1, 2, 2, 2], "float32"))
    del tensor.float_val[:]
    equal(tensors.to_array(tensor), np.zeros(4, "float32"))


def test_numbers_beyond_a_narrow_type_keep_their_low_bits():
    for dtype, sent, read in [(6, [200, -129], [-56, 127]), (5, [70000], [4464]), (4, [-1], [255])]:
        tensor = wire.TensorProto(dtype=dtype, int_val=sent)
        tensor.tensor_shape.dim.add(size=len(sent))
        assert tensors.to_array(tensor).tolist() == read


@pytest.mark.parametrize("dtype", [14, 19])
def test_halves_have_sixteen_bits_whatever_their_field_holds(dtype: int):
    tensor = wire.TensorProto(dtype=dtype, half_val=[2**16, -1])
    tensor.tensor_shape.dim.add(size=2)
    assert tensors.to_array(tensor).view(np.uint16).tolist() == [0, 2**16 - 1]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1), st.integers(0, 2))
def test_whole_numbers_of_64_bits_come_in_their_field(values: list[int], more: int):
    tensor = wire.TensorProto(dtype=23, uint64_val=values)
    tensor.tensor_shape.dim.add(size=len(values) + more)
    assert tensors.to_array(tensor).tolist() == values + values[-1:] * more


@pytest.mark.parametrize(
    "array", [np.array(["ä", "b"]), np.array([b"\xc3\xa4", b"b"]), np.array(["ä", b"b"], object)]
)
def test_text_is_sent_as_its_bytes(array: np.ndarray):
    for fill in (tensors.fill_content, tensors.fill_values):
        tensor = wire.TensorProto()
        fill(tensor, array)
        assert tensors.to_array(tensor).tolist() == ["ä".encode(), b"b"]


def test_a_length_of_strings_that_never_ends_is_refused_at_once():
    tensor = wire.TensorProto(dtype=7, tensor_content=b"\xff" * 2_000_000)
    tensor.tensor_shape.dim.add(size=1)
    with pytest.raises(ValueError, match="within a length"):
        tensors.to_array(tensor)


@pytest.mark.parametrize("field", ["float_val", "double_val"])
def test_packed_values_are_found_among_fields_of_every_wire_type(field: str):
    dtype = {"float_val": 1, "double_val": 2}[field]
    tensor = wire.TensorProto(dtype=dtype, version_number=300, **{field: [1.5, -2.0]})
    tensor.tensor_shape.dim.add(size=2)
    tensor.string_val.append(b"\x2a\x04beside")
    numbers = {0: b"\x96\x01", 1: b"12345678", 2: b"\x03abc", 3: b"\xa4\x06", 5: b"1234"}
    unknown = [bytes([0xA0 | kind, 0x06]) + value for kind, value in numbers.items()]
    read = wire.TensorProto.FromString(b"".join(unknown) + tensor.SerializeToString())
    equal(tensors.to_array(read), np.array([1.5, -2.0], f"f{4 * dtype}"))


@pytest.mark.parametrize(
    "tensor",
    [
        wire.TensorProto(dtype=0),
        wire.TensorProto(dtype=1, tensor_content=b"12345"),
        wire.TensorProto(dtype=1, tensor_shape={"dim": [{"size": -1}]}),
        wire.TensorProto(dtype=1, tensor_shape={"unknown_rank": True}),
        wire.TensorProto(dtype=7, tensor_content=b"\x05abc"),
        wire.TensorProto(dtype=7, tensor_content=b"\x80"),
    ],
)
def test_a_tensor_that_cannot_be_read_is_a_value_error(tensor: Any):
    with pytest.raises(ValueError, match=r"."):
        tensors.to_array(tensor)


def test_a_numpy_type_without_a_tensor_type_is_a_value_error():
    with pytest.raises(ValueError, match="datetime64"):
        tensors.fill_content(wire.TensorProto(), np.array(["2020-01-01"], "datetime64[D]"))


@pytest.mark.slow
@settings(deadline=None)
@given(arrays)
def test_tensorflow_reads_both_forms_alike(array: np.ndarray):
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2

    for fill in (tensors.fill_content, tensors.fill_values):
        tensor = tensor_pb2.TensorProto()
        fill(tensor, array)
        equal(tf.io.parse_tensor(tensor.SerializeToString(), tf.as_dtype(tensor.dtype)).numpy()
              if array.dtype != object else tf.make_ndarray(tensor), array)  # fmt: skip


@pytest.mark.slow
@settings(deadline=None)
@given(arrays)
def test_what_tensorflow_writes_is_read(array: np.ndarray):
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2

    written = tf.make_tensor_proto(array, tf.string if array.dtype == object else None)
    equal(tensors.to_array(written), array)
    content = tf.io.serialize_tensor(tf.constant(array, tf.as_dtype(written.dtype))).numpy()
    equal(tensors.to_array(tensor_pb2.TensorProto.FromString(content)), array)

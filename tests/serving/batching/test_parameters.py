"""The parameters file of TensorFlow Serving's documentation, and what it refuses."""

import os

import pytest

from linnaeus.errors import ConfigurationError
from serving.batching.parameters import BatchingParameters, read


@pytest.fixture
def parameters(tmp_path):
    def write(text):
        path = tmp_path / "batching.txt"
        path.write_text(text)
        return read(str(path))

    return write


def test_every_field_is_read_out_of_its_wrapper(parameters):
    text = """
        max_batch_size { value: 128 }
        batch_timeout_micros { value: 1500 }
        max_enqueued_batches { value: 1000000 }
        num_batch_threads { value: 8 }
        thread_pool_name { value: "mine" }
        allowed_batch_sizes: 32
        allowed_batch_sizes: 128
        pad_variable_length_inputs: true
        enable_large_batch_splitting { value: true }
        max_execution_batch_size { value: 64 }
    """
    assert parameters(text) == BatchingParameters(
        max_batch_size=128,
        batch_timeout_micros=1500,
        max_enqueued_batches=1_000_000,
        num_batch_threads=8,
        thread_pool_name="mine",
        allowed_batch_sizes=(32, 128),
        pad_variable_length_inputs=True,
        enable_large_batch_splitting=True,
        max_execution_batch_size=64,
    )


def test_what_is_left_out_has_the_defaults_of_tensorflow_serving(parameters):
    expected = BatchingParameters(1000, 0, 10, os.cpu_count() or 1, "batch_threads")
    assert parameters("") == expected
    assert parameters("batch_timeout_micros { value: 0 }") == expected


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (
            "max_batch_size { value: 64 } allowed_batch_sizes: [8, 32]",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 32;"
            " expected 64",
        ),
        (
            "allowed_batch_sizes: 32",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 32;"
            " expected 1000",
        ),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: [4, 2, 8]",
            "allowed_batch_sizes entries must be monotonically increasing",
        ),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0"),
        ("max_batch_size { value: 0 }", "input_batch_size_limit must be positive; was 0"),
        (
            "batch_timeout_micros { value: -1 }",
            "batch_timeout_micros must be non-negative; was -1",
        ),
        (
            "enable_large_batch_splitting { value: true } max_enqueued_batches { value: 0 }",
            "max_enqueued_batches must be positive; was 0",
        ),
        (
            "max_batch_size { value: 8 } enable_large_batch_splitting { value: true }"
            " max_execution_batch_size { value: 16 }",
            "When enable_large_batch_splitting is true, input_batch_size_limit must be greater"
            " than or equal to max_execution_batch_size.",
        ),
    ],
)
def test_contradictions_are_refused_in_the_words_of_tensorflow_serving(parameters, text, refusal):
    with pytest.raises(ConfigurationError) as caught:
        parameters(text)
    assert str(caught.value).startswith(f"{refusal}; correct /")


@pytest.mark.parametrize("text", ["max_batch_size: 128", "batch_size { value: 1 }", "{"])
def test_another_text_is_refused_with_its_path(parameters, text):
    with pytest.raises(ConfigurationError, match=r"tensorflow\.serving\.BatchingParameters.*txt"):
        parameters(text)


def test_sizes_round_up_to_the_next_that_is_allowed():
    parameters = BatchingParameters(max_batch_size=8, allowed_batch_sizes=(2, 8))
    assert [parameters.rounded(rows) for rows in (1, 2, 3, 8)] == [2, 2, 8, 8]
    assert BatchingParameters().rounded(3) == 3

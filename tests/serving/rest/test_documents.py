"""Documents against Python's own parser, and values in refusals against its digits."""

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from serving.rest.documents import parse_document, value_text

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(TEXTS, VALUES, max_size=4)


def close(left: Any, right: Any) -> bool:
    """Equal, but for the last places of floating-point numbers."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(close, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(map(close, left.values(), right.values()))
    if isinstance(left, float) and isinstance(right, float):
        both = math.isnan(left) and math.isnan(right)
        return both or math.isclose(left, right, rel_tol=1e-15, abs_tol=1e-307)
    return type(left) is type(right) and left == right


@given(
    DOCUMENTS, st.booleans(), st.binary(max_size=5), st.sampled_from([b"", b"\xef\xbb\xbf", b" "])
)
def test_documents_are_read_as_they_were_written_whatever_follows(
    document: Any, ensure_ascii: bool, more: bytes, before: bytes
):
    body = before + json.dumps(document, ensure_ascii=ensure_ascii).encode() + more
    assert repr(parse_document(body)) == repr(document)
    assert close(parse_document(body, exact=False), document)


@given(VALUES)
def test_values_in_refusals_are_short_and_the_json_that_they_were_if_they_fit(value: Any):
    text = value_text(value)
    assert len(text.encode()) < 256 + 60
    if len(text.encode()) < 256:
        assert close(json.loads(text), value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_in_refusals_have_exponents_where_javascript_has(value: float):
    text = value_text(value)
    assert float(text) == value
    assert ("e" in text) == (value != 0 and not 1e-6 <= abs(value) < 1e21)
    assert "e+" not in text
    assert "e-0" not in text

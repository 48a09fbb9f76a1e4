"""Bytes that were valid once: for tests that send a server what no client would."""

from hypothesis import strategies as st


@st.composite
def mutated(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """One of some messages with up to four bytes replaced, cut out or put in."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        replaced = draw(st.integers(0, 3))
        data[at : at + replaced] = draw(st.binary(max_size=3))
    return bytes(data)

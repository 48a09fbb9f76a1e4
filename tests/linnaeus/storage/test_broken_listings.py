"""A listing that breaks off goes on behind the last key that came."""

from datetime import UTC, datetime

import pytest

from linnaeus.errors import StorageError
from linnaeus.storage import Bucket, retries

KEYS = [f"k{number:02d}" for number in range(20)]


class BreakingStore:
    """Lists pages of three keys, and ends in the middle each time that it is asked to."""

    def __init__(self, pages_before_each_break: list[int]) -> None:
        self.left, self.asked = pages_before_each_break, 0

    def list(self, prefix, offset, chunk_size):
        assert (prefix, chunk_size > 0) == (None, True)
        self.asked += 1
        keys = [key for key in KEYS if offset is None or key > offset]
        pages = self.left.pop(0) if self.left else len(KEYS)
        for start in range(0, len(keys), 3):
            if pages == 0:
                raise OSError("Generic S3 error: response body error: end of file")
            pages -= 1
            yield [meta(key) for key in keys[start : start + 3]]


def meta(key):
    now = datetime(2026, 3, 1, tzinfo=UTC)
    return {"path": key, "size": 1, "e_tag": '"e"', "last_modified": now}


def listed(monkeypatch, store):
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0.0001)
    monkeypatch.setattr(Bucket, "_store", store)
    return [entry.key for page in Bucket("gs://photos").pages() for entry in page]


@pytest.mark.parametrize("breaks", [[], [0], [1, 0, 0, 2, 1], [0] * (retries.BROKEN_ANSWERS - 1)])
def test_each_key_comes_once_however_often_the_listing_breaks_off(monkeypatch, breaks):
    store = BreakingStore(list(breaks))
    assert listed(monkeypatch, store) == KEYS
    assert store.asked == len(breaks) + 1


def test_a_listing_that_only_breaks_off_is_given_up(monkeypatch):
    store = BreakingStore([0] * 100)
    with pytest.raises(StorageError, match="cannot list gs://photos"):
        listed(monkeypatch, store)
    assert store.asked == retries.BROKEN_ANSWERS

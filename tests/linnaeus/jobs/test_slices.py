import pytest

from linnaeus.errors import ConfigurationError
from linnaeus.jobs import Slice, slices
from linnaeus.jobs.slices import shards_of


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("3/16", {}, Slice(3, 16)),
        ("1/1", {"AWS_BATCH_JOB_ARRAY_INDEX": "7"}, Slice(1, 1)),
        ("auto/16", {"AWS_BATCH_JOB_ARRAY_INDEX": "0"}, Slice(1, 16)),
        ("auto/16", {"JOB_COMPLETION_INDEX": "15"}, Slice(16, 16)),
        ("auto/3", {"CLOUD_RUN_TASK_INDEX": "1", "CLOUD_RUN_TASK_COUNT": "3"}, Slice(2, 3)),
        ("auto", {"CLOUD_RUN_TASK_INDEX": "1", "CLOUD_RUN_TASK_COUNT": "3"}, Slice(2, 3)),
        ("auto", {"JOB_COMPLETION_INDEX": "1", "LINNAEUS_SLICES": "4"}, Slice(2, 4)),
    ],
)
def test_a_slice_is_given_as_a_fraction_or_by_the_environment(text, environment, expected):
    assert slices.parse(text, environment) == expected


@pytest.mark.parametrize(
    ("text", "environment", "words"),
    [
        ("0/16", {}, "numbered from 1/16 to 16/16"),
        ("17/16", {}, "numbered from 1/16 to 16/16"),
        ("1/0", {}, "numbered from 1/0"),
        ("3", {}, "write 3/16"),
        ("-1/2", {}, "write 3/16"),
        ("third", {}, "write 3/16"),
        ("auto/16", {}, "AWS_BATCH_JOB_ARRAY_INDEX"),
        ("auto", {"JOB_COMPLETION_INDEX": "1"}, "LINNAEUS_SLICES"),
        ("auto/2", {"JOB_COMPLETION_INDEX": "2"}, "JOB_COMPLETION_INDEX is 2"),
        ("auto/2", {"JOB_COMPLETION_INDEX": "x"}, "no number"),
    ],
)
def test_what_is_no_slice_is_refused_in_words(text, environment, words):
    with pytest.raises(ConfigurationError, match=words):
        slices.parse(text, environment)


@pytest.mark.parametrize(("shards", "count"), [(0, 3), (1, 3), (7, 3), (16, 16), (5, 1)])
def test_each_shard_is_in_one_slice(shards, count):
    of_each = [shards_of(Slice(index, count), shards) for index in range(1, count + 1)]
    assert sorted(number for one in of_each for number in one) == list(range(shards))
    assert max(map(len, of_each)) - min(map(len, of_each)) <= 1

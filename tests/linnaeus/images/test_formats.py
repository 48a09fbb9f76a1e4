"""What the table of formats says of each is what listing and decoding do; tests of the scoring
client hold the same against an exported graph.
"""

import re
from pathlib import Path

import pytest

from linnaeus.errors import FailureCode, ImageError
from linnaeus.images import FORMATS, IMAGE_SUFFIXES, MAGIC_BYTES, Format, decode
from linnaeus.images.formats import format_of
from linnaeus.manifests.listing import list_images
from linnaeus.storage import Folder
from tests import pictures

DECODED, NOT_DECODED = pictures.every_format(), pictures.not_decoded()
SAMPLES = {kind.split("-")[0].upper(): [] for kind in DECODED} | {
    name: [data] for name, data in NOT_DECODED.items()
}
for kind, sample in DECODED.items():
    SAMPLES[kind.split("-")[0].upper()].append(sample)


def test_each_format_has_a_sample_here_and_each_sample_its_format():
    assert [one.name for one in FORMATS] == list(dict.fromkeys(one.name for one in FORMATS))
    assert set(SAMPLES) == {one.name for one in FORMATS}


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_bytes_begin_like_one_format_alone(one: Format):
    for data in SAMPLES[one.name]:
        alone = [other.name for other in FORMATS if re.match(other.magic, data, re.DOTALL)]
        assert alone == [one.name]


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_a_format_is_decoded_under_its_name_or_refused_in_its_words(one: Format):
    for data in SAMPLES[one.name]:
        if one.file_class:
            assert decode(data, 8, 8).format == one.name
        else:
            with pytest.raises(ImageError) as caught:
                decode(data, 8, 8)
            assert (str(caught.value), caught.value.code) == (one.refusal, FailureCode.UNSUPPORTED)


def test_what_is_listed_is_what_is_decoded():
    assert all(bool(one.suffixes) == bool(one.file_class) for one in FORMATS)
    assert all(one.file_class for one in FORMATS if one.exported)
    assert len(set(IMAGE_SUFFIXES)) == len(IMAGE_SUFFIXES)


def test_a_folder_is_listed_by_the_suffixes_of_the_table(tmp_path: Path):
    wanted = {f"{n}{suffix}" for n, suffix in enumerate(IMAGE_SUFFIXES)}
    wanted |= {f"upper{suffix.upper()}" for suffix in IMAGE_SUFFIXES}
    for name in wanted | {"phone.heic", "drawing.svg", "jpg", "a.jpg.txt"}:
        (tmp_path / name).touch()
    listed = [key for page in list_images(Folder(str(tmp_path))) for key in page["key"].to_pylist()]
    assert set(listed) == wanted


def test_a_format_is_told_by_the_first_bytes_alone():
    start = b" " * (MAGIC_BYTES - 4)
    assert format_of(start + b"<svg") is not None
    assert format_of(start + b" <svg") is None

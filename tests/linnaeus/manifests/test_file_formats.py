from __future__ import annotations

import csv
import io
import json
import string

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnaeus.errors import ConfigurationError
from linnaeus.manifests import is_manifest_file, read_rows
from linnaeus.manifests.file_formats import Row

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=10)
uris = st.text(string.ascii_letters + ' é,"\n/', min_size=1).filter(lambda uri: uri.strip())
rows = st.lists(
    st.tuples(
        uris,
        texts,
        st.sampled_from(["", "train", "validation", "test"]),
        st.none() | st.floats(0, 9, width=32),
    ),
    min_size=1,
    max_size=8,
)


def expected(written: list[tuple[str, str, str, float | None]]) -> list[tuple[object, ...]]:
    return [(uri, label or None, split or None, weight) for uri, label, split, weight in written]


def as_csv(written: list[tuple[str, str, str, float | None]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["uri", "label", "split", "weight"])
    writer.writerows(written)
    return out.getvalue().encode()


@given(rows)
def test_every_format_gives_the_rows_that_were_written(
    written: list[tuple[str, str, str, float | None]],
):
    names = ("uri", "label", "split", "weight")
    records = [dict(zip(names, row, strict=True)) for row in written]
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), parquet)
    lines = "\n".join(json.dumps(record) for record in records).encode()
    for name, data in (
        ("x.csv", as_csv(written)),
        ("x.CSV", b"\xef\xbb\xbf" + as_csv(written)),
        ("x.jsonl", lines),
        ("x.ndjson", lines + b"\n\n"),
        ("x.parquet", parquet.getvalue()),
    ):
        assert [row[1:5] for row in read_rows(name, data)] == expected(written)


def test_labels_are_kept_as_written():
    labels = [" two  words ", "a/b", "Grün", "001", "None", "nan"]
    data = "uri,label\n" + "".join(f"{i}.jpg,{label}\n" for i, label in enumerate(labels))
    assert [row.label for row in read_rows("x.csv", data.encode())] == labels


def test_only_uri_is_required_and_columns_come_in_any_order():
    assert read_rows("x.csv", b"uri\na.jpg\n") == [Row(2, "a.jpg", None, None, None)]
    assert read_rows("x.csv", b"weight,split,uri\r\n0.5,val,a.jpg\r\n") == [
        Row(2, "a.jpg", None, "validation", 0.5)
    ]


def test_several_labels_are_read_alike_from_every_format():
    rows = [{"uri": "a.jpg", "labels": ["red", "big"]}, {"uri": "b.jpg", "labels": None}]
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), parquet)
    for name, data in (
        ("x.csv", b"uri,labels\na.jpg,red|big\nb.jpg,\n"),
        ("x.jsonl", "\n".join(json.dumps(row) for row in rows).encode()),
        ("x.parquet", parquet.getvalue()),
    ):
        assert [row.labels for row in read_rows(name, data)] == [("big", "red"), None], name


def test_an_empty_list_says_that_no_label_applies():
    assert read_rows("x.jsonl", b'{"uri": "a.jpg", "labels": []}')[0].labels == ()


def test_whole_numbers_are_labels_in_json_and_parquet():
    assert read_rows("x.jsonl", b'{"uri": "a.jpg", "label": 7}')[0].label == "7"


def test_a_line_is_counted_as_an_editor_counts_it():
    data = b'uri,label\n\n"a\nb.jpg",x\nc.jpg,y,z\n'
    with pytest.raises(ConfigurationError, match="line 5: 3 fields under 2 columns"):
        read_rows("x.csv", data)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (
            "x.csv",
            b"uri,lable\na,b\n",
            "x.csv, line 1: unknown column 'lable': do you mean 'label'",
        ),
        (
            "x.csv",
            b"uri,colour\na,b\n",
            "unknown column 'colour': use uri, label, labels",
        ),
        ("x.csv", b"label,split\na,test\n", "line 1: there is no column uri"),
        ("x.csv", b"uri,label,label\na,b,c\n", "column 'label' appears twice"),
        ("x.csv", b"uri;label\na;b\n", "line 1: separate the columns with commas.*semicolons"),
        ("x.csv", b"uri\tlabel\na\tb\n", "line 1: separate the columns with commas.*tabs"),
        ("x.csv", b"", "x.csv: the file is empty"),
        ("x.csv", b"\n\n", "x.csv: the file is empty"),
        ("x.csv", b"uri,label\n", "x.csv lists no images"),
        ("x.csv", b"uri,split\na,train\nb,tset\n", "line 3: unknown split 'tset': .*'test'"),
        ("x.csv", b"uri,label\na,b\n\xff\xfe,c\n", "line 3: not UTF-8"),
        ("x.csv", b"uri,label\na,b\n ,c\n", "line 3: the uri is missing"),
        ("x.csv", b"uri,weight\na,heavy\n", "line 2: the weight 'heavy' is no number"),
        ("x.csv", b"uri,weight\na,-1\n", "line 2: the weight '-1' must not be negative"),
        ("x.csv", b"uri,weight\na,nan\n", "must not be negative or infinite"),
        ("x.csv", b'uri,label\na,"b\n', "line 2: unexpected end of data"),
        ("x.jsonl", b'{"uri": "a"}\n{"uri": \n', "x.jsonl, line 2: not JSON"),
        ("x.jsonl", b'["a"]', "line 1: each line must be an object"),
        ("x.jsonl", b'{"label": "a"}', "line 1: there is no column uri"),
        ("x.jsonl", b'{"uri": "a", "label": 0.5}', "line 1: the label 0.5 is no text"),
        ("x.jsonl", b"", "x.jsonl lists no images"),
        ("x.parquet", b"PAR1", "x.parquet: not a Parquet file"),
        ("x.csv", b"uri,label,labels\na,b,c\n", "line 1: an image has a label or labels, not both"),
        ("x.csv", b"uri,labels\na,b||c\n", "line 2: the labels .* hold an empty one"),
        ("x.jsonl", b'{"uri": "a", "labels": 7}', "line 1: the labels 7 are no list"),
    ],
)
def test_a_mistake_names_file_line_and_remedy(name: str, data: bytes, message: str):
    with pytest.raises(ConfigurationError, match=message) as raised:
        read_rows(name, data)
    assert "\n" not in str(raised.value)


def test_manifest_files_are_known_by_their_names():
    assert all(map(is_manifest_file, ["/a/x.csv", "s3://b/X.JSONL", "x.ndjson", "x.parquet"]))
    assert not any(map(is_manifest_file, ["/a/csv", "/a.csv/x", "x.jpg", "s3://b/manifest.json"]))

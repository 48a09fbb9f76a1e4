from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from typing import Any
from urllib.parse import quote_plus

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import orc

from linnaeus.errors import ConfigurationError
from linnaeus.manifests import freeze, load
from linnaeus.storage import Folder

FIELDS = {
    "Bucket": "bucket",
    "Key": "key",
    "VersionId": "version_id",
    "IsLatest": "is_latest",
    "IsDeleteMarker": "is_delete_marker",
    "Size": "size",
    "LastModifiedDate": "last_modified_date",
    "ETag": "e_tag",
    "StorageClass": "storage_class",
}
SCHEMA = pa.schema(
    [
        ("bucket", pa.string()),
        ("key", pa.string()),
        ("version_id", pa.string()),
        ("is_latest", pa.bool_()),
        ("is_delete_marker", pa.bool_()),
        ("size", pa.int64()),
        ("last_modified_date", pa.timestamp("ms", tz="UTC")),
        ("e_tag", pa.string()),
        ("storage_class", pa.string()),
    ]
)
FORMATS = ("CSV", "ORC", "Parquet")
START = "reports/images/daily"


def rows_of(s3: Any, bucket: str) -> list[dict[str, Any]]:
    """What S3 would say of a bucket's objects now."""
    name = bucket.removeprefix("s3://")
    pages = s3.client().get_paginator("list_objects_v2").paginate(Bucket=name)
    return [
        {
            "bucket": name,
            "key": item["Key"],
            "version_id": None,
            "is_latest": True,
            "is_delete_marker": False,
            "size": item["Size"],
            "last_modified_date": item["LastModified"],
            "e_tag": item["ETag"].strip('"'),
            "storage_class": "STANDARD",
        }
        for page in pages
        for item in page.get("Contents", [])
    ]


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    for row in rows:
        said = {**row, "key": quote_plus(row["key"], safe="/")}
        said["last_modified_date"] = row["last_modified_date"].strftime("%Y-%m-%dT%H:%M:%S.000Z")
        for name in ("is_latest", "is_delete_marker"):
            said[name] = str(row[name]).lower()
        writer.writerow("" if said[name] is None else said[name] for name in FIELDS.values())
    return gzip.compress(text.getvalue().encode())


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), sink)
    return sink.getvalue()


def as_orc(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    times = table["last_modified_date"].cast(pa.timestamp("ns", tz="UTC"))
    zoneless = times.cast(pa.timestamp("ns"))
    position = SCHEMA.get_field_index("last_modified_date")
    orc.write_table(table.set_column(position, "last_modified_date", zoneless), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


ENCODERS = {"CSV": as_csv, "ORC": as_orc, "Parquet": as_parquet}


def publish(to: Folder, bucket: str, kind: str, files: list[list[dict[str, Any]]]) -> str:
    """Write an Inventory as S3 does, and return where its `manifest.json` is."""
    entries = []
    for number, rows in enumerate(files):
        data = ENCODERS[kind](rows)
        key = f"{START}/data/{number}.{kind.lower()}"
        to.write(key, data)
        md5 = hashlib.md5(data).hexdigest()
        entries.append({"key": key, "size": len(data), "MD5checksum": md5})
    fields = ", ".join(FIELDS)
    schema = f"message s3.inventory {{ {'; '.join(FIELDS.values())} }}"
    said = {
        "sourceBucket": bucket.removeprefix("s3://"),
        "destinationBucket": f"arn:aws:s3:::{to.uri.removeprefix('s3://')}",
        "version": "2016-11-30",
        "creationTimestamp": "1514944800000",
        "fileFormat": kind,
        "fileSchema": fields if kind == "CSV" else schema,
        "files": entries,
    }
    to.write(f"{START}/2026-01-01T01-00Z/manifest.json", json.dumps(said).encode())
    return to.uri_of(f"{START}/2026-01-01T01-00Z/manifest.json")


words = st.text("ab.-_ %+é&=日", min_size=1, max_size=4).filter(lambda word: word.strip("."))
keys = st.builds(
    lambda folders, name, suffix: "/".join([*folders, name + suffix]),
    st.lists(words, max_size=2),
    words,
    st.sampled_from([".jpg", ".PNG", ".txt", ""]),
)


def without_clashes(candidates: set[str]) -> list[str]:
    """Drop keys that are a folder of another one, which the test's server cannot have."""
    return sorted(
        k for k in candidates if not any(other.startswith(f"{k}/") for other in candidates)
    )


@pytest.mark.slow
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(candidates=st.sets(keys, max_size=10), split=st.integers(0, 10))
def test_an_inventory_gives_the_manifest_that_a_listing_gives(
    s3: Any, candidates: set[str], split: int
):
    bucket, reports = s3.bucket(), Folder(s3.bucket())
    for key in [*without_clashes(candidates), "zoo/always.jpg"]:
        Folder(bucket).write(key, key.encode())
    rows = rows_of(s3, bucket)
    # A manifest is frozen anew only where it differs.
    workspace = Folder(f"{reports.uri}/workspace")
    listed = freeze(workspace, bucket)
    for kind in FORMATS:
        name = publish(reports, bucket, kind, [rows[:split], rows[split:]])
        assert freeze(workspace, name) == listed
    assert listed.source == bucket


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_only_newest_versions_that_are_no_delete_markers_count(
    s3: Any, workspace: Folder, kind: str
):
    bucket, reports = s3.bucket(), Folder(s3.bucket())
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        Folder(bucket).write(name, b"picture")
    a, b, c = rows_of(s3, bucket)
    older = {**a, "e_tag": "older", "is_latest": False, "version_id": "1"}
    gone = {**b, "is_delete_marker": True, "size": None, "e_tag": None}
    name = publish(reports, bucket, kind, [[a, older, gone, c]])
    found = load(workspace, freeze(workspace, name).id).to_pylist()
    assert [(row["uri"], row["etag"]) for row in found] == [
        (f"{bucket}/a.jpg", a["e_tag"]),
        (f"{bucket}/c.jpg", c["e_tag"]),
    ]


@pytest.fixture
def row() -> dict[str, Any]:
    moment = pa.scalar(0, pa.timestamp("ms", tz="UTC")).as_py()
    row = dict.fromkeys(SCHEMA.names) | {"bucket": "images", "key": "cats/a b.jpg", "size": 7}
    return (
        row
        | {"is_latest": True, "last_modified_date": moment, "is_delete_marker": False}
        | {"e_tag": "e"}
    )


def copied(tmp_path: Any, row: dict[str, Any], kind: str = "CSV") -> tuple[Any, Any]:
    """A downloaded Inventory: its keys begin at the folder of `manifest.json`."""
    folder = Folder(str(tmp_path / "copy"))
    name = publish(folder, "s3://images", kind, [[row]])
    beside = Folder(name.rpartition("/")[0])
    said = json.loads(beside.read("manifest.json"))
    key = said["files"][0]["key"]
    beside.write(key, folder.read(key))
    return name, said


def rewrite(name: str, said: Any) -> str:
    Folder(name.rpartition("/")[0]).write("manifest.json", json.dumps(said).encode())
    return name


@pytest.mark.parametrize("kind", FORMATS)
def test_an_inventory_may_be_a_downloaded_one(workspace, tmp_path, row, kind):
    name, said = copied(tmp_path, row, kind)
    manifest = freeze(workspace, rewrite(name, said))
    [found] = load(workspace, manifest.id).to_pylist()
    assert manifest.source == found["source"] == "s3://images"
    assert (found["uri"], found["label"]) == ("s3://images/cats/a b.jpg", "cats")
    assert (found["etag"], found["size"], found["modified"]) == ("e", 7, row["last_modified_date"])


def test_a_file_that_is_not_the_one_meant_is_refused(workspace, tmp_path, row):
    name, said = copied(tmp_path, row)
    said["files"][0]["MD5checksum"] = "0" * 32
    with pytest.raises(ConfigurationError, match=r"0\.csv: its MD5 is not the one in .*another"):
        freeze(workspace, rewrite(name, said))
    assert list(workspace.list("manifests")) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fileSchema": "Bucket, Key, Size, LastModifiedDate"}, "has no ETag: add it to the field"),
        ({"fileFormat": "AVRO"}, "cannot read AVRO; use CSV, ORC, PARQUET"),
        (
            {"fileFormat": "Parquet", "fileSchema": "key size last_modified_date e_tag"},
            "not an Inv",
        ),
        ({"fileFormat": 7}, "cannot read 7; use CSV"),
        ({"files": None}, "not the manifest of an S3 Inventory"),
        ({"files": []}, "no images in"),
    ],
)
def test_what_is_wrong_with_an_inventory_is_said(workspace, tmp_path, row, change, message):
    name, said = copied(tmp_path, row)
    with pytest.raises(ConfigurationError, match=message) as raised:
        freeze(workspace, rewrite(name, said | change))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["ORC", "Parquet"])
@pytest.mark.parametrize("column", ["key", "size", "e_tag", "last_modified_date"])
def test_a_file_without_a_column_that_its_manifest_names_is_refused(
    workspace, tmp_path, row, kind, column
):
    name, said = copied(tmp_path, row, kind)
    folder, key = Folder(name.rpartition("/")[0]), said["files"][0]["key"]
    module, sink = {"ORC": orc, "Parquet": pq}[kind], io.BytesIO()
    table = module.read_table(io.BytesIO(ENCODERS[kind]([row])))
    module.write_table(table.drop_columns([column]), sink)
    data = sink.getvalue()
    folder.write(key, data)
    said["files"][0]["MD5checksum"] = hashlib.md5(data).hexdigest()
    with pytest.raises(ConfigurationError, match=f"not an Inventory in .*no column {column}$"):
        freeze(workspace, rewrite(name, said))


def test_an_inventory_that_is_not_there_is_named(workspace, tmp_path):
    with pytest.raises(ConfigurationError, match=r"no file .*manifest\.json"):
        freeze(workspace, f"{tmp_path}/manifest.json")

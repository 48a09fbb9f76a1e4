import concurrent.futures

import pyarrow as pa
import pytest

from linnaeus.storage import Folder
from linnaeus.tables import Table, parts

SCHEMA = pa.schema([("source", pa.string()), ("uri", pa.string())])


def rows(source, count):
    uris = [f"{source}/{i}" for i in range(count)]
    return pa.table({"source": [source] * count, "uri": uris}, schema=SCHEMA)


@pytest.fixture
def table(workspace: Folder):
    return Table(workspace, "things", SCHEMA)


def write(table, run_id, name="0", count=3):
    part = parts.write(table.workspace, f"things/{run_id}/{name}.parquet", rows(run_id, count))
    assert part is not None
    return part


def test_a_table_that_nobody_wrote_is_empty(table):
    assert table.scan().read_all().num_rows == 0
    assert table.load() is None


def test_a_part_shows_only_when_its_run_is_committed(table):
    part = write(table, "run1")
    table.create()
    assert table.scan().read_all().num_rows == 0
    table.append([part], "run1")
    assert table.scan().read_all().num_rows == 3


def test_committing_a_run_twice_adds_its_rows_once(table):
    part = write(table, "run1")
    for _ in range(2):
        table.append([part], "run1")
    assert table.scan().read_all().num_rows == 3


def test_a_part_that_exists_is_not_written_again(table):
    first = write(table, "run1")
    second = parts.write(table.workspace, first.key, rows("other", 9))
    assert second is None
    table.append([first], "run1")
    assert set(table.scan().read_all()["source"].to_pylist()) == {"run1"}


def test_runs_that_commit_at_once_all_land_once(table):
    written = {f"run{i}": write(table, f"run{i}") for i in range(6)}

    def commit(run_id):
        table.append([written[run_id]], run_id)

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        list(pool.map(commit, [*written, *written]))
    sources = table.scan().read_all()["source"].to_pylist()
    assert sorted(sources) == sorted(source for source in written for _ in range(3))


def test_a_run_without_parts_is_noted_too(table):
    table.append([], "run1")
    assert table.load().transaction_version("run1") == 1


def test_replacing_one_source_leaves_the_others(table):
    table.append([write(table, "a"), write(table, "b")], "run1")
    judged = []

    def replace():
        table.replace(
            rows("a", 1).to_reader,
            predicate="source = 'a'",
            versions={"run2": 1},
            done=lambda snapshot: snapshot.transaction_version("run2") is not None,
            judge=lambda snapshot: judged.append(snapshot.version()),
        )

    replace()
    replace()
    assert judged == [1]  # not what is done already
    assert sorted(table.scan().read_all()["uri"].to_pylist()) == ["a/0", "b/0", "b/1", "b/2"]


def test_vectors_have_no_dictionary_and_strings_have(workspace):
    import pyarrow.parquet as pq

    content = pa.table(
        {"name": ["a", "a"], "vector": pa.array([[1.0], [2.0]], pa.list_(pa.float32()))}
    )
    part = parts.write(workspace, "t/p.parquet", content, {"note": "kept"})
    group = pq.ParquetFile(workspace.open(part.key)).metadata.row_group(0)
    encodings = {group.column(i).path_in_schema: group.column(i).encodings for i in range(2)}
    assert "RLE_DICTIONARY" in encodings["name"]
    assert "RLE_DICTIONARY" not in encodings["vector.list.element"]
    assert group.column(1).compression == "ZSTD"
    assert parts.read_metadata(workspace, part.key)["note"] == "kept"

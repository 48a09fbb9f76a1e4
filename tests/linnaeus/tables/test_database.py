import duckdb
import pyarrow as pa
import pytest

from linnaeus.tables.database import database


@pytest.fixture
def spills(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_table_that_does_not_fit_into_memory_is_sorted_on_disk(spills):
    numbers = pa.table({"n": range(2_000_000), "text": pa.repeat("x" * 100, 2_000_000)})
    with database({}, memory_limit="100MB") as connection:
        connection.execute("SET threads = 2")
        connection.register("numbers", numbers)
        batches = connection.sql("FROM numbers ORDER BY n DESC").to_arrow_reader(100_000)
        assert next(iter(batches))["n"][0].as_py() == 1_999_999
        [folder] = spills.iterdir()
        assert sum(path.stat().st_size for path in folder.iterdir()) > 50e6
    assert list(spills.iterdir()) == []
    with pytest.raises(duckdb.OutOfMemoryException), database({}, "1MB") as connection:
        connection.register("numbers", numbers)
        connection.sql("FROM numbers ORDER BY n DESC").to_arrow_table()

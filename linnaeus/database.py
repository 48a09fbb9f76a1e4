"""DuckDB over Arrow streams: joins within an explicit memory limit, the rest goes to disk.

Rows have no order but the one a query asks for, which is what keeps large joins small.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import cast

import duckdb
import pyarrow as pa

MEMORY_LIMIT = "3GB"

Sources = Mapping[str, pa.Table | pa.RecordBatchReader]


@contextmanager
def database(sources: Sources) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database with the sources as its tables; it ends with the context."""
    with TemporaryDirectory(prefix="linnaeus-duckdb-") as spill:
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": spill,
        }
        with duckdb.connect(config=config) as connection:
            for name, source in sources.items():
                # A stream is gone after one scan, and a query may scan a table twice.
                connection.register("source", source)
                connection.execute(f'CREATE TEMP TABLE "{name}" AS FROM source')
                connection.unregister("source")
            yield connection


def query(sql: str, sources: Sources, parameters: Mapping[str, object] | None = None) -> pa.Table:
    """The result of one query."""
    with database(sources) as connection:
        return cast(pa.Table, connection.sql(sql, params=parameters or {}).to_arrow_table())

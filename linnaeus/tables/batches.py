"""Record batches of a wanted size."""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from linnaeus.tables import parts


def gathered(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, rows: int
) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of exactly `rows`, but for the last one."""
    for table in parts.row_groups(batches, schema, rows):
        [batch] = table.combine_chunks().to_batches()
        yield batch

"""Labels written as plain files: rate and peak memory, by format and by the table's rows.

Rows come in an order of their own, as a join leaves them.

    python -m benchmarks.label_files DATA ROWS

makes the table in a process of its own, so that its memory is not counted.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from benchmarks.measuring import Measure, Readings, peak_megabytes, seconds_of
from benchmarks.setting import Setting
from linnaeus.labels import LabelFiles, LabelsTable
from linnaeus.records import LABELS
from linnaeus.storage import Folder

MODEL = "bench"
SOURCE = "s3://images-of-the-catalogue"
_STRIDE = 7_654_321
"""A prime: multiples of it, modulo the number of rows, visit every row."""
_BATCH_ROWS = 50_000
_ROWS = """
SELECT $source AS source, etag, sha256(etag) AS sha256,
    printf('%s/photos/%05d-taken-in-the-field-in-2024/image-of-the-day-%010d.jpg',
        $source, number // 10000, number) AS uri,
    CASE WHEN number % 100 = 0 THEN 'failed' ELSE 'labelled' END AS status,
    CASE WHEN number % 100 > 0 THEN 'species-' || number % 500 END AS label,
    CASE WHEN number % 100 > 0 THEN 0.5 + number % 4999 / 10000 END AS confidence,
    CASE WHEN number % 100 > 0 THEN ['species-' || number % 500] END AS labels,
    CASE WHEN number % 100 > 0 THEN [
        'species-' || (number + k) % 500 FOR k IN range(5)] END AS top_labels,
    CASE WHEN number % 100 > 0 THEN [
        (0.5 + number % 4999 / 10000) / (k + 1) FOR k IN range(5)] END AS top_scores,
    CASE WHEN number % 100 = 0 THEN 'decode_failed' END AS code,
    CASE WHEN number % 100 = 0 THEN 'not a picture: "' || number || '"' END AS message,
    1 AS model_version, '01MODEL' AS trained_by, '01RUN' AS run_id, '01MANIFEST' AS manifest_id,
    TIMESTAMP '2024-09-01' + to_microseconds(number * 1234) AS scored_at
FROM (SELECT range * $stride % $rows AS number, md5('e' || number) AS etag FROM range($rows))
"""


def written(setting: Setting, form: str, rows: str) -> Measure:
    """Write as many labels in that format to a local folder."""
    labels = made(Path(setting.data), int(rows))

    def measure() -> Readings:
        with TemporaryDirectory(prefix="scratch-", dir=setting.data) as folder:
            files = LabelFiles(Folder(folder), form)
            seconds = seconds_of(lambda: files.write(labels, SOURCE, {}))
        key = f"label-files-{form}-{rows}"
        return {key: int(rows) / seconds, f"{key}-memory": peak_megabytes()}

    return measure


def made(data: Path, rows: int) -> LabelsTable:
    """The table of that size, made by another process if it is missing."""
    command = [sys.executable, "-m", "benchmarks.label_files", str(data), str(rows)]
    subprocess.run(command, check=True)
    return _at(data, rows)


def _at(data: Path, rows: int) -> LabelsTable:
    return LabelsTable(Folder(str(data / f"labels-{rows}")), MODEL)


def _make(labels: LabelsTable, rows: int) -> None:
    if labels.table.dataset().count_rows() == rows:
        return
    labels.table.replace(
        lambda: pa.RecordBatchReader.from_batches(LABELS, _batches(rows)),
        predicate=f"source = '{SOURCE}'",
        versions={},
        done=lambda _: False,
        judge=lambda _: None,
    )


def _batches(rows: int) -> Iterator[pa.RecordBatch]:
    parameters = {"source": SOURCE, "rows": rows, "stride": _STRIDE}
    with duckdb.connect(config={"memory_limit": "1GB"}) as connection:
        found = connection.sql(_ROWS, params=parameters).to_arrow_reader(_BATCH_ROWS)
        for batch in found:
            yield batch.select(LABELS.names).cast(LABELS)


if __name__ == "__main__":
    _make(_at(Path(sys.argv[1]), int(sys.argv[2])), int(sys.argv[2]))

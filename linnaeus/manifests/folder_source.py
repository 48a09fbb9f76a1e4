"""A listing on disk, however long: sorted, each object once, labelled by the names of folders."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from linnaeus.errors import ConfigurationError
from linnaeus.manifests.label_names import check_labels
from linnaeus.manifests.splits import SYNONYMS, TRAIN
from linnaeus.records import LISTING, MANIFEST
from linnaeus.storage import is_local
from linnaeus.tables import database, gathered

BATCH_ROWS = 100_000


def stage(pages: Iterable[pa.RecordBatch], path: Path) -> int:
    """Write the pages of a listing (schema `LISTING`) to a file; return how many rows they have."""
    return write_scratch(gathered(pages, LISTING, BATCH_ROWS), path, LISTING)


def write_scratch(batches: Iterable[pa.RecordBatch], path: Path, schema: pa.Schema) -> int:
    """Write a file that is read once, quickly rather than small; return how many rows it has."""
    rows = 0
    with pq.ParquetWriter(path, schema, compression="lz4") as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


@dataclass(frozen=True)
class ListedFolder:
    """What a listing of a folder or bucket found.

    Args:
        source: as people named it.
        root: URI that the keys are relative to.
        path: the listing that was staged, schema `LISTING`.
    """

    source: str
    root: str
    path: Path

    def youngest_seconds(self) -> float:
        """When a local file changed last, in seconds since the epoch; 0 for objects elsewhere."""
        if not is_local(self.root):
            return 0.0
        [[seconds]] = self._ask("SELECT epoch(max(modified)) FROM listing WHERE etag <> ''")
        return seconds or 0.0

    def rows(self) -> Iterator[pa.RecordBatch]:
        """Rows of the manifest (schema `MANIFEST`), sorted by URI, each URI once."""
        check_labels(self.source, self._labels())
        label, split = self._label, self._split
        sql = f"""
            SELECT key, size, etag, modified, {label} AS label, {split} AS split
            FROM listing ORDER BY key
        """
        last = None
        with database({"listing": self.path}) as connection:
            for batch in connection.sql(sql).to_arrow_reader(BATCH_ROWS):
                rows = _once(batch, last)
                last = batch["key"][-1]
                yield self._manifest_rows(rows)

    def _ask(self, sql: str) -> list[tuple]:
        with database({"listing": self.path}) as connection:
            return connection.sql(sql).fetchall()

    @cached_property
    def _split_folders(self) -> dict[str, str]:
        found = self._ask(
            "SELECT DISTINCT split_part(key, '/', 1) FROM listing WHERE contains(key, '/')"
        )
        return _split_folders(self.source, {name for [name] in found})

    @property
    def _label(self) -> str:
        """SQL: the folder below the root, or below that of the split; NULL for loose objects."""
        depth = 2 if self._split_folders else 1
        return (
            f"CASE WHEN len(string_split(key, '/')) > {depth} "
            f"THEN split_part(key, '/', {depth}) END"
        )

    @property
    def _split(self) -> str:
        cases = " ".join(
            f"WHEN starts_with(key, '{name}/') THEN '{split}'"
            for name, split in self._split_folders.items()
        )
        return f"CASE {cases} END" if cases else "NULL::VARCHAR"

    def _labels(self) -> Iterator[tuple[str, str]]:
        """Each label with an object that has it."""
        found = self._ask(f"SELECT {self._label} AS label, min(key) FROM listing GROUP BY label")
        return ((f"{self._start}{key}", label) for label, key in found if label)

    @property
    def _start(self) -> str:
        return self.root.rstrip("/") + "/"

    def _manifest_rows(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        n = rows.num_rows
        known = pc.not_equal(rows["etag"], "")
        columns = {
            "source": pa.repeat(self.source, n),
            "uri": pc.binary_join_element_wise(self._start, rows["key"], ""),
            "etag": rows["etag"],
            "size": rows["size"],
            "modified": pc.if_else(known, rows["modified"], None),
            "label": rows["label"],
            "split": rows["split"],
            "weight": pa.nulls(n, pa.float32()),
            "labels": pa.nulls(n, pa.list_(pa.string())),
        }
        arrays = [columns[field.name].cast(field.type) for field in MANIFEST]
        return pa.record_batch(arrays, schema=MANIFEST)


def _once(batch: pa.RecordBatch, last: pa.Scalar | None) -> pa.RecordBatch:
    """The rows of a sorted batch whose key is not that of the row before; `last` is before it."""
    keys = batch["key"]
    first = [last is None or keys[0] != last] if len(keys) else []
    new = pa.concat_arrays([pa.array(first, pa.bool_()), pc.not_equal(keys[1:], keys[:-1])])
    return batch.filter(new)


def _split_folders(source: str, top: set[str]) -> dict[str, str]:
    """Map folder names to splits where the top folders are splits and not labels.

    They are where all of them have the name of a split. With at least two such names and one
    other, nobody can tell; with one (a label 'train' among 'bus' and 'car') they are labels.
    """
    splits = {name: SYNONYMS[name.lower()] for name in top if name.lower() in SYNONYMS}
    others = sorted(top - set(splits))
    if not others:
        return splits
    if TRAIN in splits.values() and len(set(splits.values())) > 1:
        raise ConfigurationError(
            f"{source}: {', '.join(sorted(splits))} look like splits but {others[0]} does not: "
            "move it elsewhere, or list the images in a CSV file with columns uri,label,split"
        )
    return {}

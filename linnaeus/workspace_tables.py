"""Which tables a workspace has."""

from collections.abc import Iterator

import pyarrow as pa

from linnaeus import layout
from linnaeus.records import EMBEDDINGS, FAILURES, LABELS, OBJECTS, PREDICTIONS
from linnaeus.storage import Folder
from linnaeus.tables import Table


def appended_tables(workspace: Folder) -> Iterator[Table]:
    """Those that runs add parts to, some of which may not exist yet."""
    yield Table(workspace, layout.OBJECTS, OBJECTS)
    yield Table(workspace, layout.FAILURES, FAILURES)
    for folder, schema in (("embeddings", EMBEDDINGS), ("predictions", PREDICTIONS)):
        yield from _named(workspace, folder, schema)


def tables_in(workspace: Folder) -> Iterator[Table]:
    """All of them: the current labels, too, whose rows are replaced."""
    yield from appended_tables(workspace)
    yield from labels_in(workspace)


def labels_in(workspace: Folder) -> Iterator[Table]:
    """The current labels of each model; some may not exist yet."""
    yield from _named(workspace, "labels", LABELS)


def _named(workspace: Folder, folder: str, schema: pa.Schema) -> Iterator[Table]:
    for name in sorted(filter(layout.NAME.fullmatch, workspace.folders(folder))):
        yield Table(workspace, f"{folder}/{name}", schema)

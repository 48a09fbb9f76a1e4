"""Tables of the workspace: Delta, its parts, and the database that joins them.

May import `images`, `storage` and `datasets`, and what lies below.
"""

from linnaeus.tables import parts
from linnaeus.tables.batches import gathered
from linnaeus.tables.database import Sources, database, query
from linnaeus.tables.embedding_matrix import memory_map, read_into, read_matrix, release, stored
from linnaeus.tables.embeddings import (
    PLACES,
    EmbeddingTable,
    Places,
    StoredContents,
    stored_vectors,
)
from linnaeus.tables.parts import Part
from linnaeus.tables.table import (
    REMEMBERED_DAYS,
    PartsGone,
    Table,
    appended_tables,
    labels_in,
    tables_in,
)

__all__ = [
    "PLACES",
    "REMEMBERED_DAYS",
    "EmbeddingTable",
    "Part",
    "PartsGone",
    "Places",
    "Sources",
    "StoredContents",
    "Table",
    "appended_tables",
    "database",
    "gathered",
    "labels_in",
    "memory_map",
    "parts",
    "query",
    "read_into",
    "read_matrix",
    "release",
    "stored",
    "stored_vectors",
    "tables_in",
]

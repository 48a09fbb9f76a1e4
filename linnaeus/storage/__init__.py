"""Folders, local or in an object store: read, list, create and lease.

Imports the ground floor alone.
"""

from linnaeus.storage import leases, local, retries
from linnaeus.storage.buckets import PAGE_KEYS, Bucket
from linnaeus.storage.folder import Folder, read_named, read_object
from linnaeus.storage.leases import Lease, LeaseLost, leased, store_time
from linnaeus.storage.local import RECENT_MARK, Walk, flush, flush_tree
from linnaeus.storage.store_errors import breaks_off, got_no_answer, map_store_errors
from linnaeus.storage.uris import (
    REMOTE_SCHEMES,
    Entry,
    absent,
    inside,
    is_local,
    join,
    normalise,
    outer_of,
    parent,
    split_uri,
)

__all__ = [
    "PAGE_KEYS",
    "RECENT_MARK",
    "REMOTE_SCHEMES",
    "Bucket",
    "Entry",
    "Folder",
    "Lease",
    "LeaseLost",
    "Walk",
    "absent",
    "breaks_off",
    "flush",
    "flush_tree",
    "got_no_answer",
    "inside",
    "is_local",
    "join",
    "leased",
    "leases",
    "local",
    "map_store_errors",
    "normalise",
    "outer_of",
    "parent",
    "read_named",
    "read_object",
    "retries",
    "split_uri",
    "store_time",
]

"""Frozen lists of a source's objects, from folders, files, Inventories and changes.

May import `backbones` and `tables`, and what lies below.
"""

from linnaeus.manifests import s3_inventory, splits
from linnaeus.manifests.file_formats import is_manifest_file, read_rows
from linnaeus.manifests.freezing import (
    Manifest,
    describe,
    exists,
    freeze,
    freeze_changed,
    freeze_rows,
    known_sources,
    load,
    local_file,
    newest,
    numbered,
)
from linnaeus.manifests.label_names import check_labels
from linnaeus.manifests.listing import is_hidden
from linnaeus.manifests.sampling import sampler
from linnaeus.manifests.sources import source_of
from linnaeus.manifests.splits import SYNONYMS, TRAIN

__all__ = [
    "SYNONYMS",
    "TRAIN",
    "Manifest",
    "check_labels",
    "describe",
    "exists",
    "freeze",
    "freeze_changed",
    "freeze_rows",
    "is_hidden",
    "is_manifest_file",
    "known_sources",
    "load",
    "local_file",
    "newest",
    "numbered",
    "read_rows",
    "s3_inventory",
    "sampler",
    "source_of",
    "splits",
]

"""Networks that turn pixels into embeddings: their names, their files, their fingerprints.

May import `images`, `storage` and `datasets`, and what lies below.
"""

from linnaeus.backbones import store, views
from linnaeus.backbones.digests import (
    FINGERPRINT_DIGITS,
    arrays_sha256,
    file_sha256,
    json_sha256,
    stored_files,
    tree_sha256,
)
from linnaeus.backbones.family import (
    TENSORFLOW,
    BackboneName,
    Family,
    Saved,
    TrainableFamily,
    Writable,
    absolute,
    nearest,
    parse_size,
)
from linnaeus.backbones.spec import BackboneSpec, Tuning
from linnaeus.backbones.store import load_spec, local_files
from linnaeus.backbones.trainable import Extent, Trainable

__all__ = [
    "FINGERPRINT_DIGITS",
    "TENSORFLOW",
    "BackboneName",
    "BackboneSpec",
    "Extent",
    "Family",
    "Saved",
    "Trainable",
    "TrainableFamily",
    "Tuning",
    "Writable",
    "absolute",
    "arrays_sha256",
    "file_sha256",
    "json_sha256",
    "load_spec",
    "local_files",
    "nearest",
    "parse_size",
    "store",
    "stored_files",
    "tree_sha256",
    "views",
]

"""Networks that turn pixels into embeddings: their names, their files, their fingerprints.

May import `images`, `storage` and `datasets`, and what lies below.
"""

from linnaeus.backbones import names, store, views
from linnaeus.backbones.digests import (
    FINGERPRINT_DIGITS,
    arrays_sha256,
    file_sha256,
    json_sha256,
    stored_files,
    tree_sha256,
)
from linnaeus.backbones.names import TUNED_PREFIX, BackboneName, Kind, nearest, parse
from linnaeus.backbones.network import TENSORFLOW, Network, Saved, Writable
from linnaeus.backbones.spec import BackboneSpec, Tuning
from linnaeus.backbones.store import load_spec, local_files
from linnaeus.backbones.trainable import Extent, Trainable

__all__ = [
    "FINGERPRINT_DIGITS",
    "TENSORFLOW",
    "TUNED_PREFIX",
    "BackboneName",
    "BackboneSpec",
    "Extent",
    "Kind",
    "Network",
    "Saved",
    "Trainable",
    "Tuning",
    "Writable",
    "arrays_sha256",
    "file_sha256",
    "json_sha256",
    "load_spec",
    "local_files",
    "names",
    "nearest",
    "parse",
    "store",
    "stored_files",
    "tree_sha256",
    "views",
]

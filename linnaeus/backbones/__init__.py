"""Networks that turn pixels into embeddings: their names, their files, their fingerprints."""

from linnaeus.backbones.preparation import find, prepare
from linnaeus.backbones.spec import BackboneSpec, StoredFile
from linnaeus.backbones.store import load_spec, local_files

__all__ = ["BackboneSpec", "StoredFile", "find", "load_spec", "local_files", "prepare"]

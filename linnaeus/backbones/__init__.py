"""Networks that turn pixels into embeddings: their names, their files, their fingerprints."""

from linnaeus.backbones.spec import BackboneSpec, StoredFile

__all__ = ["BackboneSpec", "StoredFile"]

"""Pictures as pixels: their formats, their decoding apart from this process, their variation.

Imports the ground floor alone.
"""

from linnaeus.images import augmentation, isolation, refusals
from linnaeus.images.decoding import (
    EXPORTED_PIXELS,
    PREPROCESSING,
    Limits,
    Picture,
    decode,
    decoder_version,
)
from linnaeus.images.formats import (
    FORMATS,
    IMAGE_NAME,
    IMAGE_SUFFIXES,
    MAGIC_BYTES,
    NOT_EXPORTED,
    PARTLY_EXPORTED,
    Format,
)
from linnaeus.images.isolation import DECODERS

__all__ = [
    "DECODERS",
    "EXPORTED_PIXELS",
    "FORMATS",
    "IMAGE_NAME",
    "IMAGE_SUFFIXES",
    "MAGIC_BYTES",
    "NOT_EXPORTED",
    "PARTLY_EXPORTED",
    "PREPROCESSING",
    "Format",
    "Limits",
    "Picture",
    "augmentation",
    "decode",
    "decoder_version",
    "isolation",
    "refusals",
]

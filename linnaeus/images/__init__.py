"""Pictures as pixels: their formats, their decoding apart from this process, their variation.

Imports the ground floor alone.
"""

from linnaeus.images import augmentation, isolation
from linnaeus.images.decoding import (
    EXPORTED_PIXELS,
    PREPROCESSING,
    Limits,
    Picture,
    decode,
    decoder_version,
)
from linnaeus.images.formats import IMAGE_NAME, IMAGE_SUFFIXES
from linnaeus.images.isolation import DECODERS

__all__ = [
    "DECODERS",
    "EXPORTED_PIXELS",
    "IMAGE_NAME",
    "IMAGE_SUFFIXES",
    "PREPROCESSING",
    "Limits",
    "Picture",
    "augmentation",
    "decode",
    "decoder_version",
    "isolation",
]

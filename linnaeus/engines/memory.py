"""How many images an engine computes together, where memory may not suffice for all it would."""

from dataclasses import dataclass
from functools import cache

from linnaeus.errors import EngineError

# The words of TensorFlow, OpenVINO, LiteRT, CUDA and the C++ library. None has an exception of its
# own that could be named without importing it.
_WORDS = ("out of memory", "out_of_memory", "oom when", "bad_alloc", "allocate", "bad array new")


@dataclass
class Ceiling:
    """The most images of a backbone that are computed together; it only ever falls."""

    backbone: str
    images: int

    def lower(self, images: int, error: Exception) -> None:
        """Take it that so many images do not fit, where `error` says so.

        Raises:
            EngineError: a single image does not fit.
            Exception: `error` itself, where it is about something else than memory.
        """
        if not is_out_of_memory(error):
            raise error
        if images == 1:
            raise too_large(self.backbone) from error
        self.images = min(self.images, images // 2)


@cache
def ceiling(engine: str, fingerprint: str, backbone: str, images: int) -> Ceiling:
    """The process's ceiling of a backbone in an engine, `images` at first."""
    del engine, fingerprint  # tell one ceiling from another
    return Ceiling(backbone, images)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an engine failed for want of memory, on the processor's side or a GPU's."""
    text = str(error).lower()
    known = isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
    return known or (isinstance(error, RuntimeError) and any(word in text for word in _WORDS))


def too_large(backbone: str) -> EngineError:
    """What to say where one image does not fit."""
    return EngineError(
        f"Backbone {backbone} needs more memory than is left here, even for one image: choose a "
        "smaller backbone or input size, run fewer workers side by side, or take a larger machine"
    )

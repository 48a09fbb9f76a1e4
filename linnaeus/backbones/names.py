"""The names backbones are asked by: NETWORK[@SIZE][+mid][?weights=FILE].

NETWORK is `efficientnet-lite0|1|2`, `pixels`, a `keras.applications` name (`vgg16`, or
`keras:vgg16`), a TensorFlow Hub handle, or the folder of a SavedModel. A fine-tuned backbone of the
workspace is `tuned:FINGERPRINT`, with nothing behind it: its size and its layers are what they are.
"""

import difflib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import parse_qsl

from linnaeus.backbones.families.keras_catalogue import APPLICATIONS
from linnaeus.errors import ConfigurationError

LITE = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
PIXELS = "pixels"
KERAS = tuple(APPLICATIONS)
KERAS_PREFIX = "keras:"
TUNED_PREFIX = "tuned:"
MIDDLE = "mid"
WEIGHTS = "weights"
SMALLEST_SIZE = 1
LARGEST_SIZE = 4096

_NAME = re.compile(
    r"(?P<network>[^@+?]+)(?:@(?P<size>[^@+?]*))?(?:\+(?P<taps>[^@+?]*))?(?:\?(?P<query>.*))?"
)
_PLACE = re.compile(r"(?P<network>.+?)(?:@(?P<size>\d+))?(?:\+(?P<taps>mid))?")
_OPEN = re.compile(r"(?i)http://(?!(?:127\.0\.0\.1|localhost|\[::1\])[:/])")
_TUNED = re.compile(TUNED_PREFIX + "[0-9a-f]+")


class Kind(Enum):
    """Where a network comes from."""

    LITE = "efficientnet-lite"
    PIXELS = "pixels"
    KERAS = "keras"
    HUB = "hub"
    TUNED = "tuned"


@dataclass(frozen=True)
class BackboneName:
    """A name taken apart."""

    kind: Kind
    network: str
    """The network alone: `vgg16`, a handle, an absolute folder, or `tuned:FINGERPRINT`."""
    size: int | None = None
    """Height and width of the input in pixels; None for the network's own."""
    middle: bool = False
    """Whether pooled middle layers are added."""
    weights: Path | None = None
    """A local file of weights in place of the published ones (`keras.applications` only)."""

    def __str__(self) -> str:
        """The canonical name: equal names give equal networks."""
        size = "" if self.size is None else f"@{self.size}"
        taps = f"+{MIDDLE}" if self.middle else ""
        weights = "" if self.weights is None else f"?{WEIGHTS}={self.weights}"
        return f"{self.network}{size}{taps}{weights}"


def parse(text: str) -> BackboneName:
    """Take a name apart; a wrong one raises ConfigurationError naming the nearest valid word.

    Folders become absolute. In handles and folders only a trailing `@DIGITS` and `+mid` are read
    as size and taps, since `@`, `+` and `?` may be part of them.
    """
    if _is_place(text):
        return _place(text)
    if text.startswith(TUNED_PREFIX):
        return _tuned(text)
    match = _NAME.fullmatch(text)
    if match is None:
        raise _unknown(text, text)
    network = match["network"].removeprefix(KERAS_PREFIX)
    kind = _kind(text, network, match["network"] != network)
    taps, query = match["taps"], match["query"]
    if taps is not None and taps != MIDDLE:
        raise ConfigurationError(f"Backbone {text!r}: +{taps} is unknown, did you mean +{MIDDLE}?")
    size = None if match["size"] is None else _size(text, match["size"])
    weights = None if query is None else _weights(text, kind, query)
    return BackboneName(kind, network, size, taps is not None, weights)


def _is_place(text: str) -> bool:
    return "://" in text or text.startswith(("/", "./", "../", "~"))


def _place(text: str) -> BackboneName:
    match = _PLACE.fullmatch(text)
    assert match is not None
    network, size = match["network"], match["size"]
    if "://" not in network:
        network = str(_absolute(network))
    if _OPEN.match(network):
        raise ConfigurationError(
            f"Backbone {text!r}: on its way over http:// anyone could replace it, and a network is "
            "a program: name it by https://."
        )
    checked = None if size is None else _size(text, size)
    return BackboneName(Kind.HUB, network, checked, match["taps"] is not None)


def _tuned(text: str) -> BackboneName:
    if _TUNED.fullmatch(text) is None:
        raise ConfigurationError(
            f"Backbone {text!r}: behind {TUNED_PREFIX} comes the fingerprint of a backbone that "
            "was fine-tuned in this workspace, and nothing else."
        )
    return BackboneName(Kind.TUNED, text)


def _kind(text: str, network: str, of_keras: bool) -> Kind:
    if network in KERAS:
        return Kind.KERAS
    if not of_keras and network in LITE:
        return Kind.LITE
    if not of_keras and network == PIXELS:
        return Kind.PIXELS
    raise _unknown(text, network)


def _unknown(text: str, network: str) -> ConfigurationError:
    near = nearest(network, (*LITE, PIXELS, *KERAS))
    return ConfigurationError(
        f"There is no backbone {text!r}: did you mean {near}? Also possible are a TensorFlow Hub "
        "handle (https://…) and a SavedModel's folder (written with a /)."
    )


def nearest(word: str, valid: Iterable[str]) -> str:
    """The valid word most like `word`."""
    return max(valid, key=lambda known: difflib.SequenceMatcher(None, word, known).ratio())


def _size(text: str, size: str) -> int:
    if not size.isascii() or not size.isdigit() or not SMALLEST_SIZE <= int(size) <= LARGEST_SIZE:
        raise ConfigurationError(
            f"Backbone {text!r}: @{size} is no input size, give pixels from "
            f"{SMALLEST_SIZE} to {LARGEST_SIZE}, such as @224."
        )
    return int(size)


def _weights(text: str, kind: Kind, query: str) -> Path:
    given = dict(parse_qsl(query, keep_blank_values=True))
    if kind is not Kind.KERAS or list(given) != [WEIGHTS] or not given[WEIGHTS]:
        raise ConfigurationError(
            f"Backbone {text!r}: ?{query} is unknown, only keras networks take "
            f"?{WEIGHTS}=FILE, as in keras:vgg16?{WEIGHTS}=/path/notop.h5."
        )
    return _absolute(given[WEIGHTS])


def _absolute(path: str) -> Path:
    """From home, if it is said to be; `~name` of nobody is a name like any other."""
    return Path(os.path.expanduser(path)).absolute()  # noqa: PTH111 - pathlib raises then

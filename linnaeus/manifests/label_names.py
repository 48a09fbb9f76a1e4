"""Names of labels: two that read the same are refused."""

import unicodedata
from collections.abc import Iterable

from linnaeus.errors import ConfigurationError


def check_labels(
    source: str, labels: Iterable[tuple[str, str | None]], *, trained: bool = False
) -> None:
    """Refuse two labels that read the same: in other Unicode forms, or with other spaces.

    Args:
        source: what is listed, for the message.
        labels: URIs with their labels.
        trained: whether a model is to tell them apart; then they may not differ by case alone.
    """
    remedy = ", or list all labels in a file for --labels" if trained else ""
    first: dict[str, str] = {}
    for uri, label in labels:
        if label:
            first.setdefault(label, uri)
    seen: dict[str, str] = {}
    for label in sorted(first):
        read = " ".join(unicodedata.normalize("NFC", label).split())
        read = read.casefold() if trained else read
        other = seen.setdefault(read, label)
        if other != label:
            raise ConfigurationError(
                f"{source}: the labels {other} ({other!a}, of {first[other]}) and {label} "
                f"({label!a}, of {first[label]}) read the same: rename one, or both to the same"
                f"{remedy}"
            )

"""What is true of images: their labels, by name and as numbers."""

from difflib import get_close_matches

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from linnaeus.errors import ConfigurationError
from linnaeus.manifests import check_labels


def selected_labels(used: pa.Table, wanted: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The labels in the order of the scores: those wanted, or all there are, sorted.

    Raises:
        ConfigurationError: If an image has a label that is not wanted, or a label has several
            lines, which the files that hold a label a line cannot; or, where none are wanted, two
            labels differ by case alone.
    """
    truths = zip(used["uri"].to_pylist(), used["truth"].to_pylist(), strict=True)
    each = ((uri, label) for uri, truth in truths for label in truth)
    if not wanted:
        check_labels(used["source"][0].as_py(), each, trained=True)
        labels = tuple(sorted(set(pc.list_flatten(used["truth"]).to_pylist())))
        _refuse_lines(labels)
        return labels
    for uri, label in each:
        if label not in wanted:
            near = get_close_matches(label, wanted, n=1)
            remedy = f"do you mean {near[0]!r}?" if near else "add it there"
            raise ConfigurationError(
                f"{uri} has the label {label!r}, which is not in the list of labels: {remedy}"
            )
    return wanted


def _refuse_lines(labels: tuple[str, ...]) -> None:
    for label in labels:
        if "\n" in label or "\r" in label:
            raise ConfigurationError(
                f"the label {label!r} has a line break, and labels are kept one a line: rename it"
            )


def is_multi(used: pa.Table) -> bool:
    """Whether several labels may apply to an image."""
    return bool(pc.any(pc.is_null(used["label"])).as_py())


def positions(truth: pa.ChunkedArray, labels: tuple[str, ...]) -> NDArray[np.int64]:
    """Where each row's only label is among `labels`, [n]."""
    indices = pc.index_in(flat(truth)[0], pa.array(labels, pa.string()))
    ids: NDArray[np.int64] = indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return ids


def presence(truth: pa.ChunkedArray, labels: tuple[str, ...]) -> NDArray[np.uint8]:
    """Which of `labels` each row has, 0 or 1, [n, C]."""
    there = np.zeros((len(truth), len(labels)), np.uint8)
    there[flat(truth)[1].to_numpy(), positions(truth, labels)] = 1
    return there


def flat(truth: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """All labels one after the other, and the row that each is of."""
    lists = truth.combine_chunks()
    return pc.list_flatten(lists), pc.list_parent_indices(lists)

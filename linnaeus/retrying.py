"""Trying failed objects again because a person asks for it, however often they were tried.

Nothing is listed anew: a retry is about objects that a manifest names and whose last outcome is a
failure. One that changed since, or was not there when it was listed, is another object, which the
next ordinary run finds.
"""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from linnaeus import manifests
from linnaeus.errors import ConfigurationError, FailureCode
from linnaeus.labels import LabelsTable
from linnaeus.manifests import Manifest
from linnaeus.storage import Folder

CODES = frozenset(
    str(code) for code in FailureCode if not code.permanent and code is not FailureCode.CHANGED
)
"""What is tried again by default: whatever may pass. A change needs a new listing."""

LATER_ATTEMPT = 2


def parse_codes(names: Iterable[str]) -> frozenset[str]:
    """The codes that a person named; `CODES` where none was.

    Raises:
        ConfigurationError: a name is no failure code.
    """
    codes = frozenset(name.upper() for name in names)
    if unknown := sorted(codes - set(FailureCode)):
        raise ConfigurationError(
            f"there is no failure code {unknown[0]!r}; choose among {', '.join(FailureCode)}"
        )
    return codes or CODES


def chosen(
    state: pa.Table, up_to_date: pa.ChunkedArray, codes: frozenset[str]
) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Masks of a state's rows: what a retry leaves alone, and the failures that it does not try.

    Args:
        state: of `state.known_state`.
        up_to_date: what is done, bool.
        codes: what is tried again.
    """
    failed = pc.and_not(pc.is_valid(state["code"]), up_to_date)
    among = pc.is_in(state["code"], pa.array(sorted(codes), pa.string()))
    again = pc.and_(among, pc.not_equal(state["etag"], ""))
    return pc.invert(failed), pc.and_not(failed, again)


def no_first_attempts(state: pa.Table) -> pa.Table:
    """The state with attempts from 2 on: what failed for another backbone failed before."""
    attempts = pc.max_element_wise(state["attempt"], pa.scalar(LATER_ATTEMPT, pa.int32()))
    return state.set_column(state.column_names.index("attempt"), "attempt", attempts)


def embedded_manifest(workspace: Folder, images: str) -> Manifest:
    """The source's newest manifest.

    Raises:
        ConfigurationError: it was never listed.
    """
    manifest = manifests.newest(workspace, images)
    if manifest is None:
        raise ConfigurationError(
            f"{workspace.uri} has no list of {images}, so nothing of it failed: check the name, "
            "or run `linnaeus embed` first"
        )
    return manifest


def scored_manifest(workspace: Folder, images: str, model: str, version: int) -> Manifest:
    """The manifest whose labels are current, so that each of its objects is labelled or failed.

    Raises:
        ConfigurationError: they are not of this version of the model.
    """
    source = embedded_manifest(workspace, images).source
    number, labelled_by = LabelsTable(workspace, model).current(source)
    if labelled_by != version:
        raise ConfigurationError(
            f"the labels of {source} are not those of {model}:{version}: run `linnaeus score` first"
        )
    return manifests.numbered(workspace, source, number)

"""Trying failed objects again because a person asks for it, however often they were tried.

Nothing is listed anew: a retry is about objects that a manifest names and whose last outcome is a
failure. One that changed since, or was not there when it was listed, is another object, which the
next ordinary run finds.
"""

from collections.abc import Iterable

from duckdb import DuckDBPyConnection

from linnaeus import manifests
from linnaeus.errors import ConfigurationError, FailureCode
from linnaeus.labels import LabelsTable, number_of
from linnaeus.manifests import Manifest
from linnaeus.sources import source_of
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


def conditions(job: str, done: str, codes: frozenset[str]) -> tuple[str, str]:
    """SQL over the table `known`: what a retry leaves alone, and the failures it does not try.

    Args:
        job: of a score each object is labelled or failed. What failed for it and was embedded since
            has no code any more, and is tried.
        done: the condition that an object is done.
        codes: what is tried again, of `FailureCode`.
    """
    again = ", ".join(f"'{code}'" for code in sorted(codes))
    # What was not there when it was listed is found by a listing alone.
    absent = "position IN (SELECT position FROM listed WHERE etag = '')"
    left_alone = done if job == "score" else f"({done} OR code IS NULL)"
    return left_alone, f"(coalesce(code NOT IN ({again}), false) OR {absent})"


def never_first(connection: DuckDBPyConnection) -> None:
    """Number attempts in the table `known` from 2: what failed for another backbone failed."""
    connection.execute(f"UPDATE known SET attempt = greatest(attempt, {LATER_ATTEMPT})")


def embedded_manifest(workspace: Folder, images: str) -> Manifest:
    """The source's newest manifest.

    Raises:
        ConfigurationError: it was never listed.
    """
    manifest = manifests.newest(workspace, source_of(images))
    if manifest is None:
        raise ConfigurationError(
            f"{workspace.uri} has no list of {images}, so nothing of it failed: check the name, "
            "or run `linnaeus embed` first"
        )
    return manifest


def scored_manifest(workspace: Folder, images: str, model: str, trained_by: str) -> Manifest:
    """The manifest whose labels are current, so that each of its objects is labelled or failed.

    Raises:
        ConfigurationError: they are not of this model `NAME:VERSION`, by its identity.
    """
    source = embedded_manifest(workspace, images).source
    number, labelled_by = LabelsTable(workspace, model.partition(":")[0]).current(source)
    if labelled_by != number_of(trained_by):
        raise ConfigurationError(
            f"the labels of {source} are not those of {model}: run `linnaeus score` first"
        )
    return manifests.numbered(workspace, source, number)

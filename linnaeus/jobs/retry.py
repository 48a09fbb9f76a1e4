"""Trying failed objects again because a person asks for it, however often they were tried.

Nothing is listed anew: a retry is about objects that a manifest names and whose last outcome is a
failure. One that changed since, or was not there when it was listed, is another object, which the
next ordinary run finds.
"""

from collections.abc import Iterable

from linnaeus import manifests
from linnaeus.errors import ConfigurationError, FailureCode
from linnaeus.labels import LabelsTable, number_of
from linnaeus.manifests import Manifest, source_of
from linnaeus.storage import Folder

CODES = frozenset(
    str(code) for code in FailureCode if not code.permanent and code is not FailureCode.CHANGED
)
"""What is tried again by default: whatever may pass. A change needs a new listing."""


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

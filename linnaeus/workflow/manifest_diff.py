"""What came, went and changed between two lists of images."""

from dataclasses import dataclass

from linnaeus import manifests
from linnaeus.manifests import Manifest
from linnaeus.progress import count_text
from linnaeus.storage import Folder
from linnaeus.tables import query

_DIFFERENCES = """
SELECT count(*) FILTER (WHERE earlier.uri IS NULL),
    count(*) FILTER (WHERE earlier.etag <> later.etag OR {other}),
    count(*) FILTER (WHERE later.uri IS NULL)
FROM (FROM earlier {where}) AS earlier FULL JOIN (FROM later {where}) AS later USING (uri)
"""
_LABELLED = "WHERE label IS NOT NULL OR labels IS NOT NULL"
_OTHER_LABEL = """earlier.uri IS NOT NULL AND later.uri IS NOT NULL AND (
    earlier.label IS DISTINCT FROM later.label OR earlier.labels IS DISTINCT FROM later.labels)"""


@dataclass(frozen=True)
class Differences:
    """Numbers of images."""

    added: int
    changed: int
    gone: int

    @property
    def all(self) -> int:
        """How many differ in whatever way."""
        return self.added + self.changed + self.gone

    def __str__(self) -> str:
        kinds = {"new": self.added, "changed": self.changed, "deleted": self.gone}
        return (
            ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count) or "the same"
        )


def between(workspace: Folder, earlier: Manifest, later: Manifest) -> Differences:
    """Objects that are another version now, or on one list only."""
    return _count(workspace, earlier, later, _DIFFERENCES.format(other="false", where=""))


def of_labels(workspace: Folder, earlier: Manifest, later: Manifest) -> Differences:
    """The same of labelled images, where another label is a change, too."""
    sql = _DIFFERENCES.format(other=_OTHER_LABEL, where=_LABELLED)
    return _count(workspace, earlier, later, sql)


def labelled(workspace: Folder, manifest: Manifest) -> int:
    """How many images of a list have labels."""
    with manifests.local_file(workspace, manifest.id) as listed:
        counts = query(f"SELECT count(*) AS n FROM listed {_LABELLED}", {"listed": listed})
    return int(counts["n"][0].as_py())


def images_text(count: int) -> str:
    """`1 image`, `2,624 images`."""
    return count_text(count, "images")


def _count(workspace: Folder, earlier: Manifest, later: Manifest, sql: str) -> Differences:
    if earlier.id == later.id:
        return Differences(0, 0, 0)
    with (
        manifests.local_file(workspace, earlier.id) as before,
        manifests.local_file(workspace, later.id) as now,
    ):
        counts = query(sql, {"earlier": before, "later": now})
    return Differences(*(int(column[0].as_py()) for column in counts.columns))

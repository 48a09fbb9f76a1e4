"""What failed for the first time in a workflow run, by code, with a few examples."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from linnaeus import layout
from linnaeus.errors import LinnaeusError
from linnaeus.records import FAILURES
from linnaeus.status import details as details_module
from linnaeus.storage import Folder
from linnaeus.tables import Table, query

EXAMPLES = 3
UNCOMMITTED = 10_000
"""So many failures at most are looked at of a run that was refused, or did not end."""

_ROWS = pa.schema([("uri", pa.string()), ("code", pa.string()), ("attempt", pa.int32())])
_GROUPED = f"""
SELECT code, count(DISTINCT uri) AS images, min(uri, {EXAMPLES}) AS examples
FROM (SELECT DISTINCT uri, code FROM (FROM committed UNION ALL FROM pending) WHERE attempt = 1)
GROUP BY code ORDER BY images DESC, code
"""


@dataclass(frozen=True)
class FailureGroup:
    """New failures of one code."""

    code: str
    images: int
    examples: tuple[str, ...]
    """URIs of some."""


def new_failures(workspace: Folder, run_ids: Sequence[str]) -> tuple[FailureGroup, ...]:
    """The first failures of images in these runs, the most frequent code first."""
    if not run_ids:
        return ()
    committed = Table(workspace, layout.FAILURES, FAILURES).scan(
        _ROWS.names, pc.is_in(pc.field("run_id"), pa.array(run_ids, pa.string()))
    )
    pending = [run for run in run_ids if workspace.head(layout.summary(run)) is None]
    grouped = query(_GROUPED, {"committed": committed, "pending": _uncommitted(workspace, pending)})
    return tuple(
        FailureGroup(group["code"], group["images"], tuple(group["examples"]))
        for group in grouped.to_pylist()
    )


def _uncommitted(workspace: Folder, run_ids: Iterable[str]) -> pa.Table:
    """From the parts of runs that a gate refused: no table has them."""
    rows = []
    for run_id in run_ids:
        with suppress(LinnaeusError):  # swept away, or never planned
            details = details_module.describe(workspace, run_id, UNCOMMITTED)
            rows += [{name: row[name] for name in _ROWS.names} for row in details.failures]
    return pa.Table.from_pylist(rows, schema=_ROWS)

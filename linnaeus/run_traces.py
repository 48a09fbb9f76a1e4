"""What runs left in `runs/`, and when each last showed a sign of life."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from linnaeus import documents, layout
from linnaeus.locations import Entry
from linnaeus.storage import Folder


@dataclass
class RunTraces:
    """The files of one run's folder, by the store's clock."""

    last_sign: datetime
    plan: Entry | None = None
    ended: bool = False
    markers: list[Entry] = field(default_factory=list)
    """Of attempts at shards."""

    @property
    def joinable(self) -> bool:
        """Whether whoever issues the run's command again may go on with it."""
        return self.plan is not None and not self.ended

    def add(self, name: str, entry: Entry) -> None:
        """Take in one more file, by its path in the run's folder."""
        self.last_sign = max(self.last_sign, entry.modified)
        if name == "plan.parquet":
            self.plan = entry
        elif name == "summary.json":
            self.ended = True
        elif name.startswith("attempts/"):
            self.markers.append(entry)


def survey(workspace: Folder) -> dict[str, RunTraces]:
    """Every run by its id, from one listing."""
    found: dict[str, RunTraces] = {}
    for run_id, name, entry in _files(workspace):
        found.setdefault(run_id, RunTraces(entry.modified)).add(name, entry)
    return found


def named_run(workspace: Folder, name: Entry) -> str | None:
    """The id of the run that the file of a name says; None where there was nothing to do."""
    with documents.intact(workspace.uri_of(name.key), "delete it"):
        run_id: str | None = documents.fields(workspace.read(name.key))["run_id"]
        return run_id


def _files(workspace: Folder) -> Iterator[tuple[str, str, Entry]]:
    for entry in workspace.list(layout.RUNS):
        run_id, _, name = entry.key.removeprefix(f"{layout.RUNS}/").partition("/")
        if name and layout.RUN_ID.fullmatch(run_id):
            yield run_id, name, entry

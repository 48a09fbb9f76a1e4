"""What keeps the hundredth nightly run as cheap as the first: small parts are merged."""

from difflib import get_close_matches

from linnaeus import manifests
from linnaeus.errors import ConfigurationError
from linnaeus.labels import LabelsTable
from linnaeus.maintenance.compaction import Compaction, compact, is_due
from linnaeus.maintenance.compaction_policy import AFTER_A_RUN, ON_DEMAND
from linnaeus.planning import RunSpec
from linnaeus.progress import SILENT, Progress
from linnaeus.runs import tables_of
from linnaeus.storage import Folder, normalise
from linnaeus.tables import appended_tables, labels_in, tables_in

BUDGET_BYTES = 1 << 30
"""A run that wrote more leaves the rest to the next ones, or to `linnaeus compact`."""


def after_run(workspace: Folder, run: RunSpec, progress: Progress = SILENT) -> None:
    """Merge small parts of a committed run's tables where they are many.

    It never fails the run, whose results are safe, and leaves tables alone that another process
    is at.
    """
    try:
        due = [table for table in tables_of(workspace, run) if is_due(table, AFTER_A_RUN)]
    except Exception:  # nothing needs to be tidied that cannot be read
        return
    for table in due:
        with progress.step(f"Compact {table.key}", None) as step:
            try:
                compact(table, AFTER_A_RUN, BUDGET_BYTES)
            except Exception as error:
                step.note(f"not done ({error}); `linnaeus compact` does it")


def forget(workspace: Folder, source: str) -> dict[str, int]:
    """Take a source's rows out of all tables of labels, and make an empty list its newest.

    Returns:
        How many labels went, by model.

    Raises:
        ConfigurationError: it was never listed; the message names those that are most alike.
    """
    known = manifests.known_sources(workspace)
    named = source if source in known else normalise(source)
    if named not in known:
        near = ", ".join(get_close_matches(named, known, cutoff=0.0)) or "none yet"
        raise ConfigurationError(f"{workspace.uri} knows no source {named}: it has {near}")
    manifest = manifests.freeze_rows(workspace, named, ())
    models = [table.key.partition("/")[2] for table in labels_in(workspace) if table.load()]
    return {model: LabelsTable(workspace, model).forget(manifest) for model in models}


def compact_all(workspace: Folder) -> list[Compaction]:
    """Merge what is not large in every table that runs add to, and sum up the logs of all tables.

    Current labels are replaced source by source and do not pile up.

    Raises:
        StorageError: a table cannot be read or written.
    """
    done = [compact(table, ON_DEMAND) for table in appended_tables(workspace)]
    for table in tables_in(workspace):
        if snapshot := table.load():
            snapshot.create_checkpoint()
    return [one for one in done if one]

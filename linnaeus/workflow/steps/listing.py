"""manifest: list the images, and the labelled ones where they lie elsewhere."""

from contextlib import suppress

from linnaeus import manifests
from linnaeus.errors import ConfigurationError
from linnaeus.labels import LabelsTable
from linnaeus.manifests import Manifest, source_of
from linnaeus.storage import Folder
from linnaeus.tables import query
from linnaeus.workflow.context import Context, Outcome
from linnaeus.workflow.file.config import Workflow
from linnaeus.workflow.manifest_diff import Differences, between, images_text


def list_images(context: Context) -> Outcome:
    """Freeze the lists that the whole run goes by."""
    workspace, workflow = context.workspace, context.workflow
    last = manifests.newest(workspace, source_of(workflow.images.location))
    listed, labelled = freeze_lists(workspace, workflow)
    since = last_labelled(workspace, workflow, listed)
    differences = between(workspace, since, listed) if since else None
    facts = {
        "manifest_id": listed.id,
        "source": listed.source,
        "objects": listed.objects,
        "bytes": listed_bytes(workspace, listed),
        "labelled_manifest_id": labelled.id,
        "added": differences.added if differences else listed.objects,
        "changed": differences.changed if differences else 0,
        "gone": differences.gone if differences else 0,
    }
    unchanged = last == listed and differences is not None and not differences.all
    return Outcome(_line(listed, differences), facts, "skipped" if unchanged else "done")


def freeze_lists(workspace: Folder, workflow: Workflow) -> tuple[Manifest, Manifest]:
    """The lists of images, and of images with labels, now; often the same.

    Changed keys are put into the last list; the first one is listed in full.
    """
    images, changes = workflow.images.location, workflow.images.changes
    is_first = changes is None or manifests.newest(workspace, source_of(images)) is None
    listed = manifests.freeze(workspace, images, None if is_first else changes)
    if workflow.labelled_images == workflow.images.location:
        return listed, listed
    return listed, manifests.freeze(workspace, workflow.labelled_images)


def last_labelled(workspace: Folder, workflow: Workflow, listed: Manifest) -> Manifest | None:
    """The list whose labels are there now; None also where somebody deleted it."""
    number, _ = LabelsTable(workspace, workflow.model.name).current(listed.source)
    with suppress(ConfigurationError):
        return manifests.numbered(workspace, listed.source, number)
    return None


def _line(listed: Manifest, differences: Differences | None) -> str:
    since = f"{differences} since they were labelled last" if differences else "never labelled yet"
    return f"{images_text(listed.objects)} in {listed.source}: {since}"


def listed_bytes(workspace: Folder, listed: Manifest) -> int:
    """Of all objects of a list."""
    with manifests.local_file(workspace, listed.id) as file:
        total = query("SELECT coalesce(sum(size), 0) AS bytes FROM listed", {"listed": file})
    return int(total["bytes"][0].as_py())

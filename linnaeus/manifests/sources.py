"""Turn what a person names as IMAGES into the rows of a manifest.

IMAGES is a folder (a label is the name of the folder below it), the beginning of names in a
folder, a manifest file, or an S3 Inventory's `manifest.json`.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc

from linnaeus.errors import ConfigurationError
from linnaeus.images import IMAGE_SUFFIXES
from linnaeus.manifests import s3_inventory
from linnaeus.manifests.changed_keys import ChangedFolder, Found
from linnaeus.manifests.file_formats import SUFFIXES as MANIFEST_SUFFIXES
from linnaeus.manifests.file_formats import is_manifest_file
from linnaeus.manifests.file_source import ListedFile, list_file
from linnaeus.manifests.folder_source import ListedFolder, stage
from linnaeus.manifests.listing import list_images
from linnaeus.storage import RECENT_MARK, Folder, is_local, normalise, parent

RECENT_SECONDS = 2.0
"""A file younger than this may change again without a new modification time."""

_SUFFIXES = " ".join(IMAGE_SUFFIXES)


def source_of(images: str) -> str:
    """The source that IMAGES means: its normalised name; of an Inventory, the bucket it lists."""
    source = normalise(images)
    return s3_inventory.source_of(source) if s3_inventory.is_inventory(source) else source


@contextmanager
def read_source(images: str, workspace: Folder) -> Iterator[Iterable[pa.RecordBatch]]:
    """List the images of a source now: schema `records.MANIFEST`, one row a URI, sorted by it.

    Where local files were written just now, this waits, two seconds at most, until their age
    tells any later change, and lists again: what is embedded can then be found again.
    """
    with TemporaryDirectory(prefix="linnaeus-listing-") as scratch:
        yield _settled(_Listing(images, workspace, Path(scratch)).take)


@contextmanager
def read_changed(
    images: str, workspace: Folder, base: Path, changes: str
) -> Iterator[tuple[Iterable[pa.RecordBatch], Found]]:
    """The same from a source's last manifest (its Parquet file) and a file of changes.

    Nothing is listed: only what the changes name is looked up.
    """
    source = source_of(images)
    if is_manifest_file(source):
        raise ConfigurationError(
            f"{source} is a list, whose images are looked up in any case: leave the changes out"
        )
    with TemporaryDirectory(prefix="linnaeus-listing-") as scratch:
        folder = ChangedFolder(source, base, changes, workspace.uri, Path(scratch))
        yield _settled(folder.take), folder.found


def _settled(take: Callable[[], ListedFolder | ListedFile]) -> Iterator[pa.RecordBatch]:
    started_ns = time.time_ns()
    listed = take()
    settled_in_seconds = listed.youngest_seconds() + RECENT_SECONDS - started_ns / 1e9
    if 0 < settled_in_seconds <= RECENT_SECONDS:
        time.sleep(settled_in_seconds)
        started_ns = time.time_ns()
        listed = take()
    return (_marked(batch, started_ns) for batch in listed.rows())


def _marked(rows: pa.RecordBatch, started_ns: int) -> pa.RecordBatch:
    """Mark files that were changing while they were listed, so that no later etag equals theirs."""
    since_ns = started_ns - round(RECENT_SECONDS * 1e9)
    # A date far in the future is a wrong clock's, not a change.
    until_ns = time.time_ns() + round(RECENT_SECONDS * 1e9)
    modified_ns = pc.multiply(rows["modified"].cast(pa.int64()), 1000)
    recent = pc.and_(pc.greater(modified_ns, since_ns), pc.less(modified_ns, until_ns))
    local = pc.invert(pc.match_substring(rows["uri"], "://"))
    marked = pc.and_(local, pc.fill_null(recent, False))
    mark = f"{RECENT_MARK}{started_ns}"
    etags = pc.if_else(marked, pc.binary_join_element_wise(rows["etag"], mark, ""), rows["etag"])
    return rows.set_column(2, rows.schema.field("etag"), etags)


@dataclass(frozen=True)
class _Listing:
    """How IMAGES are listed; a long listing lies in the folder `scratch` meanwhile."""

    images: str
    workspace: Folder
    scratch: Path

    def take(self) -> ListedFolder | ListedFile:
        source = normalise(self.images)
        if s3_inventory.is_inventory(source):
            return self._inventory(source)
        if is_manifest_file(source):
            return list_file(source)
        return self._folder(source)

    def _inventory(self, name: str) -> ListedFolder:
        source = s3_inventory.source_of(name)
        pages = s3_inventory.read(name, skip=_below(source, self.workspace.uri))
        if not stage(pages, self._path):
            raise ConfigurationError(f"no images in {name}: their names end in {_SUFFIXES}")
        return ListedFolder(source, source, self._path)

    def _folder(self, source: str) -> ListedFolder:
        root, start = _root_and_start(source, is_folder=self.images.endswith("/"))
        if root.uri == self.workspace.uri and not start:
            raise ConfigurationError(
                f"{source} is the workspace itself: keep images and workspace in folders of "
                "their own"
            )
        pages = list_images(root, start, skip=_below(root.uri, self.workspace.uri))
        if not stage(pages, self._path):
            raise _no_images(source, root, start)
        return ListedFolder(source, root.uri, self._path)

    @property
    def _path(self) -> Path:
        return self.scratch / "listing.parquet"


def _no_images(source: str, root: Folder, start: str) -> ConfigurationError:
    """Say what is there instead, where `start` begins names in `root` or the folder is empty."""
    if not start:
        return ConfigurationError(f"no images in {source}: their names end in {_SUFFIXES}")
    if root.head(start):
        kinds = ", ".join(MANIFEST_SUFFIXES)
        return ConfigurationError(
            f"{source} is neither an image nor a list of images: IMAGES is a folder, the "
            f"beginning of names, or a file that ends in {kinds}"
        )
    return ConfigurationError(
        f"there is no such folder or file as {source}, and no image whose name begins so: "
        "check the name"
    )


def _root_and_start(source: str, *, is_folder: bool) -> tuple[Folder, str]:
    """Find the folder that is meant, and the beginning of its names where not all of it is."""
    root, above = Folder(source), Folder(parent(source))
    start = source[len(above.uri) :].lstrip("/")
    if is_local(source):
        exists = Path(source).is_dir()
    else:
        exists = is_folder or not start or next(iter(root.list()), None) is not None
    if exists:
        return root, ""
    if is_folder or (is_local(source) and not Path(above.uri).is_dir()):
        raise ConfigurationError(f"there is no folder {source}: check the name")
    return above, start


def _below(root: str, uri: str) -> str | None:
    start = root.rstrip("/") + "/"
    return uri[len(start) :] if uri.startswith(start) else None

"""The prepared backbones of a workspace, and their files on this machine."""

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from linnaeus.backbones.digests import file_sha256
from linnaeus.backbones.spec import BackboneSpec
from linnaeus.documents import Document
from linnaeus.errors import ConfigurationError, StorageError
from linnaeus.process import alone
from linnaeus.storage import Folder, inside, is_local

ROOT = "backbones"
NAMES = f"{ROOT}/names"


@dataclass(frozen=True)
class _Entry(Document):
    """Which backbone was prepared under a key of the index."""

    fingerprint: str
    name: str


def load_spec(workspace: Folder, fingerprint: str) -> BackboneSpec:
    """The backbone's spec; ConfigurationError where the workspace has no such backbone."""
    spec = find(workspace, fingerprint)
    if spec is None:
        raise ConfigurationError(
            f"The workspace {workspace.uri} has no backbone {fingerprint}: "
            "embed an image there to prepare it, or name another workspace."
        )
    return spec


def find(workspace: Folder, fingerprint: str) -> BackboneSpec | None:
    """The backbone's spec, or None where there is no such backbone."""
    return BackboneSpec.read_or_none(workspace, _spec_key(fingerprint))


def find_named(workspace: Folder, key: str) -> BackboneSpec | None:
    """The backbone that was prepared under a key of the index, or None."""
    entry = _Entry.read_if_sound(workspace, _name_key(key))
    return BackboneSpec.read_if_sound(workspace, _spec_key(entry.fingerprint)) if entry else None


def remember(workspace: Folder, key: str, spec: BackboneSpec) -> BackboneSpec:
    """Enter the backbone in the index; where another is entered already, that one is returned."""
    entry = _Entry(spec.fingerprint, spec.name).to_json().encode()
    if workspace.write_new(_name_key(key), entry):
        return spec
    other = find_named(workspace, key)
    if other is None:  # someone deleted the backbone that the index names
        workspace.write(_name_key(key), entry)
    return other or spec


def publish(workspace: Folder, files: Path, spec: BackboneSpec) -> BackboneSpec:
    """Store the files and then the spec; returns the spec that counts, perhaps another's."""
    folder = f"{ROOT}/{spec.fingerprint}/{spec.folder}"
    workspace.upload(files, folder)
    if workspace.write_own(_spec_key(spec.fingerprint), spec.to_json().encode()):
        return spec
    for entry in list(workspace.list(folder)):
        workspace.delete(entry.key)
    return load_spec(workspace, spec.fingerprint)


def publish_spec(workspace: Folder, spec: BackboneSpec) -> BackboneSpec:
    """Store a spec that needs no files of its own; returns the one that counts."""
    if workspace.write_new(_spec_key(spec.fingerprint), spec.to_json().encode()):
        return spec
    return load_spec(workspace, spec.fingerprint)


def local_files(workspace: Folder, fingerprint: str) -> Path:
    """The folder of the backbone's files on this machine: `openvino/`, `litert/`, `tensorflow/`.

    Files of a remote workspace are downloaded once a machine, into `$XDG_CACHE_HOME/linnaeus`,
    and checked against the spec's hashes; safe for processes at once. Of a view they are its
    base's.
    """
    spec = load_spec(workspace, fingerprint)
    if spec.view is not None:
        return local_files(workspace, spec.view.base)
    below = f"{ROOT}/{fingerprint}/{spec.folder}"
    if is_local(workspace.uri):
        return Path(inside(workspace.uri, below))
    cached = Path(inside(str(_cache()), below))
    if not cached.exists():
        with alone(cached.parent / ".lock"):
            if not cached.exists():
                _download(workspace, spec, cached)
    return cached


def _download(workspace: Folder, spec: BackboneSpec, to: Path) -> None:
    with TemporaryDirectory(dir=to.parent, prefix=".download-") as staging:
        files = Path(staging, "files")
        workspace.download(f"{ROOT}/{spec.fingerprint}/{spec.folder}", files)
        for stored in (file for engine in spec.engines.values() for file in engine):
            path = Path(inside(str(files), stored.path))
            if not path.exists() or file_sha256(path) != stored.sha256:
                raise StorageError(
                    f"{workspace.uri}: {stored.path} of backbone {spec.fingerprint} is damaged: "
                    "delete the backbone's folder there and prepare it again."
                )
        files.rename(to)


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root, "linnaeus")


def _spec_key(fingerprint: str) -> str:
    return f"{ROOT}/{fingerprint}/spec.json"


def _name_key(key: str) -> str:
    return f"{NAMES}/{key}.json"

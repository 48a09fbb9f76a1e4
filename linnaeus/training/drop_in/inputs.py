"""The pictures and the network that the flags of older programs name."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from linnaeus import manifests, preparation
from linnaeus.backbones import BackboneSpec
from linnaeus.backbones.families import parse
from linnaeus.errors import ConfigurationError
from linnaeus.manifests import Manifest
from linnaeus.storage import Folder
from linnaeus.training.data import dataset
from linnaeus.training.data.embedding import embed_missing
from linnaeus.training.drop_in.programs import Log

FEW_IMAGES = 20
FAILURES_SHOWN = 10


def listed(workspace: Folder, image_dir: str, log: Log) -> Manifest:
    """The pictures to train on; warns of labels with few, and refuses less than two labels."""
    manifest = manifests.freeze(workspace, image_dir)
    counts = _images_by_label(manifests.load(workspace, manifest.id))
    if not counts:
        raise ConfigurationError(f"No valid folders of images found at {image_dir}")
    if len(counts) == 1:
        raise ConfigurationError(
            f"Only one valid folder of images found at {image_dir} - multiple classes are needed "
            "for classification."
        )
    for label, images in sorted(counts.items()):
        if images < FEW_IMAGES:
            log.warning(
                f"Folder {label!r} has less than {FEW_IMAGES} images, which may cause issues."
            )
    return manifest


def _images_by_label(rows: pa.Table) -> Counter[str]:
    """From the one label of each row, or, in a manifest file, the several."""
    labels = rows["label"].drop_null().to_pylist()
    return Counter([*labels, *pc.list_flatten(rows["labels"]).to_pylist()])


def embedded(workspace: Folder, manifest: Manifest, backbone: str, log: Log) -> BackboneSpec:
    """The backbone, when the tables have its embeddings; names the images that have none."""
    with log.progress.step("Prepare backbone", None):
        spec = _prepared(workspace, backbone)
    embed_missing(workspace, manifest, spec, log.progress)
    _tell_failures(workspace, manifest, spec, log)
    return spec


def _prepared(workspace: Folder, name: str) -> BackboneSpec:
    """The backbone; where its module cannot be had, the error names one that always can."""
    try:
        return preparation.prepare(workspace, name)
    except ConfigurationError as error:
        if "://" not in parse(name).network:
            raise
        raise ConfigurationError(
            f"{error} Or take --tfhub_module efficientnet-lite0, which needs no internet."
        ) from error


def _tell_failures(workspace: Folder, manifest: Manifest, spec: BackboneSpec, log: Log) -> None:
    """Name the images that cannot be used; they cost the others nothing."""
    rows = dataset.image_fates(workspace, manifest, spec.fingerprint)
    failed = rows.filter(pc.equal(rows["fate"], "failed")).select(["uri", "code"]).to_pylist()
    for row in failed[:FAILURES_SHOWN]:
        log.warning(f"{row['uri']} is left out: {row['code']}")
    if len(failed) > FAILURES_SHOWN:
        log.warning(f"{len(failed):,} images in all are left out: see the table failures")


def module_name(module: str) -> str:
    """A module as backbones are named; `modules/mine` may be a folder here."""
    return str(Path(module).absolute()) if Path(module).is_dir() else module

"""Which images of its own source a published model may be tested on."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from linnaeus import layout, manifests
from linnaeus.models import Model
from linnaeus.state import known_objects
from linnaeus.storage import Folder
from training.config import SplitConfig
from training.data import dataset


def held_out(workspace: Folder, used: pa.Table, model: Model) -> pa.Array:
    """Which usable rows are in the test split and were so when the model was trained, bool [n].

    The split is made anew, so that images that came later are tested on, too; but where images
    come and go it may draw in some that the model was trained or chosen by, and these are not.
    """
    tested = pc.equal(splits_now(workspace, used, model), "test")
    if not model.run_id or not workspace.head(layout.judged(model.run_id)):
        return tested
    before = _tested_before(workspace, model)
    seen = pc.and_not(
        pc.is_in(used["sha256"], _labelled_before(workspace, model)),
        pc.is_in(used["sha256"], before),
    )
    return pc.and_not(pc.or_(tested, pc.is_in(used["sha256"], before)), seen)


def splits_now(workspace: Folder, used: pa.Table, model: Model) -> pa.Array:
    """The split of each usable row by the model's own rule, string [n]."""
    split = SplitConfig(**model.hyperparameters["split"])
    return dataset.assign(workspace, used, split, model.fingerprint)


def _tested_before(workspace: Folder, model: Model) -> pa.Array:
    """Digests of the images that the model's training tested it on."""
    with workspace.open(layout.judged(model.run_id)) as file:
        judged = pq.read_table(file, columns=["sha256", "split"])
    return judged.filter(pc.equal(judged["split"], "test"))["sha256"].combine_chunks()


def _labelled_before(workspace: Folder, model: Model) -> pa.Array:
    """Digests of all images that its training could have used."""
    listed = manifests.load(workspace, model.data["manifest_id"])
    labelled = listed.filter(pc.or_(pc.is_valid(listed["label"]), pc.is_valid(listed["labels"])))
    return known_objects(workspace, labelled, model.fingerprint)["sha256"].combine_chunks()

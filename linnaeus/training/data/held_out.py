"""Which images a published model may be tested on."""

import pyarrow as pa
import pyarrow.compute as pc

from linnaeus import layout, manifests
from linnaeus.models import Model
from linnaeus.planning import known_objects
from linnaeus.records import HELD_OUT_PREDICTIONS
from linnaeus.storage import Folder
from linnaeus.tables import parts
from linnaeus.training.config import SplitConfig
from linnaeus.training.data import dataset


def held_out(workspace: Folder, used: pa.Table, model: Model) -> pa.Array:
    """Which usable rows are in the test split and were so when the model was trained, bool [n].

    The split is made anew, so that images that came later are tested on, too; but where images
    come and go it may draw in some that the model was trained or chosen by, and these are not.
    """
    tested = pc.equal(splits_now(workspace, used, model), "test")
    before = pc.is_in(used["sha256"], _tested_before(workspace, model))
    return pc.and_not(pc.or_(tested, before), seen(workspace, used, model))


def seen(workspace: Folder, used: pa.Table, model: Model) -> pa.Array:
    """Which usable rows the model was, or could have been, trained or chosen by, bool [n].

    None where its training left no record of what it tested on.
    """
    if not (model.run_id and workspace.head(layout.held_out_predictions(model.run_id))):
        return pa.repeat(pa.scalar(False), len(used))
    return pc.and_not(
        pc.is_in(used["sha256"], _labelled_before(workspace, model)),
        pc.is_in(used["sha256"], _tested_before(workspace, model)),
    )


def splits_now(workspace: Folder, used: pa.Table, model: Model) -> pa.Array:
    """The split of each usable row by the model's own rule, string [n]."""
    split = SplitConfig(**model.hyperparameters["split"])
    return dataset.assign(workspace, used, split, model.fingerprint)


def _tested_before(workspace: Folder, model: Model) -> pa.Array:
    """Digests of the images that the model's training tested it on."""
    predictions = parts.read(
        workspace, layout.held_out_predictions(model.run_id), HELD_OUT_PREDICTIONS
    )
    return predictions.filter(pc.equal(predictions["split"], "test"))["sha256"].combine_chunks()


def _labelled_before(workspace: Folder, model: Model) -> pa.Array:
    """Digests of all images that its training could have used."""
    listed = manifests.load(workspace, model.data["manifest_id"])
    labelled = listed.filter(pc.or_(pc.is_valid(listed["label"]), pc.is_valid(listed["labels"])))
    return known_objects(workspace, labelled, model.fingerprint)["sha256"].combine_chunks()

"""The files that older programs left behind a training, written from a published model.

Every destination is a path or a URI, and every file is written whole or not at all.
"""

import posixpath
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from linnaeus.errors import ConfigurationError
from linnaeus.models import Model
from linnaeus.storage import Folder, normalise, parent

EVENTS = "events.out.tfevents."
CHECKPOINT = "variables/variables"


def accuracy_line(model: Model) -> str:
    """`Final test accuracy = 91.2% (N=367)`, for which people look."""
    test = model.metrics["test"]
    return f"Final test accuracy = {100 * test['accuracy']:.1f}% (N={test['images']})"


def refuse_filled(folder: str) -> None:
    """Raises ConfigurationError if a folder has files that an export would mix with its own."""
    if next(iter(Folder(folder).list()), None) is not None:
        raise ConfigurationError(f"{folder} has files in it already: name a new folder")


def clear_summaries(folder: str) -> None:
    """Delete the event files of an earlier training, which TensorBoard would mix with the new."""
    place = Folder(folder)
    for entry in list(place.list()):
        if posixpath.basename(entry.key).startswith(EVENTS):
            place.delete(entry.key)


def write_file(content: bytes, to: str) -> None:
    """Write or replace a file, and make its folder."""
    uri = normalise(to)
    Folder(parent(uri)).write(posixpath.basename(uri), content)


def write_labels(labels: Sequence[str], to: str) -> None:
    """A label a line, in the order of the scores, as written."""
    write_file("".join(f"{label}\n" for label in labels).encode(), to)


def write_graph(model: Path, to: str, output: str) -> None:
    """The frozen graph of the published model in a folder."""
    from linnaeus.training.exporting import float_model, frozen_graph

    write_file(frozen_graph.freeze(float_model.of_published(model), output), to)


def write_saved_model(model: Path, to: str) -> None:
    """The SavedModel that takes pictures as numbers from 0 to 1."""
    from linnaeus.training.exporting import float_model

    with TemporaryDirectory(prefix="linnaeus-saved-model-") as draft:
        float_model.of_published(model).save(Path(draft))
        Folder(to).upload(Path(draft), "", last=("saved_model.pb",))


def write_checkpoint(model: Path, to: str) -> None:
    """The model's variables as a checkpoint, which `tf.train.load_checkpoint` reads."""
    for file in sorted((model / CHECKPOINT).parent.glob(f"{Path(CHECKPOINT).name}.*")):
        write_file(file.read_bytes(), f"{to}{file.suffix}")

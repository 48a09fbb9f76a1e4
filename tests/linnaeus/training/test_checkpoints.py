from pathlib import Path

import numpy as np
import pytest

from linnaeus.errors import ConfigurationError
from linnaeus.storage import Folder
from linnaeus.training.checkpoints import StoredCheckpoints
from linnaeus.training.monitoring import Monitoring


def test_what_was_saved_last_is_found_again_by_equal_settings_only(workspace: Folder) -> None:
    checkpoints = StoredCheckpoints(workspace, {"seed": 1, "labels": ("a", "b")})
    assert checkpoints.load("head") is None
    checkpoints.save("head", {"step": np.array(1)})
    checkpoints.save("head", {"step": np.array(2), "kernel": np.eye(3)})
    again = StoredCheckpoints(workspace, {"labels": ("a", "b"), "seed": 1}).load("head")
    assert again is not None
    assert again["step"] == 2
    assert np.array_equal(again["kernel"], np.eye(3))
    assert StoredCheckpoints(workspace, {"seed": 2, "labels": ("a", "b")}).load("head") is None


def test_a_checkpoint_that_was_cut_short_names_its_folder(workspace: Folder) -> None:
    checkpoints = StoredCheckpoints(workspace, {})
    checkpoints.save("head", {"kernel": np.eye(50)})
    key = f"{checkpoints.prefix}/head.npz"
    workspace.write(key, workspace.read(key)[:-100])
    with pytest.raises(ConfigurationError, match="is damaged: delete the folder") as caught:
        checkpoints.load("head")
    assert workspace.uri_of(checkpoints.prefix) in str(caught.value)


def test_nothing_is_left_of_a_training_that_is_done(workspace: Folder) -> None:
    kept, done = StoredCheckpoints(workspace, {"a": 1}), StoredCheckpoints(workspace, {"a": 2})
    for checkpoints in (kept, done):
        checkpoints.save("head", {"step": np.array(1)})
    done.clear()
    done.clear()
    assert [path.name for path in Path(workspace.uri_of("training")).iterdir()] == [
        kept.prefix.rpartition("/")[2]
    ]


def test_summaries_are_refused_where_tensorboard_files_cannot_be_written() -> None:
    with pytest.raises(ConfigurationError, match="s3://b/logs: name a folder of this machine"):
        Monitoring("s3://b/logs")

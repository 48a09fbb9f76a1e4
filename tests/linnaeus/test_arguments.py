"""Public calls take what people pass, or say what they take."""

import inspect
from pathlib import Path

import numpy as np
import pytest

from linnaeus import Workspace
from linnaeus.arguments import Location, Locations, Words, checked
from linnaeus.errors import ConfigurationError
from linnaeus.storage import Folder
from linnaeus.training.config import FineTuningConfig, KernelConfig, TrainConfig, with_settings
from tests.buckets import fill


class Calls:
    @checked
    def call(
        self,
        images: Location = "",
        output: Location | None = None,
        photos: Locations = (),
        codes: Words = (),
        model: str = "",
        gate: bool = True,
        days: float = 7.0,
        most: int = 1,
        **others: object,
    ) -> tuple[object, ...]:
        """All that it was given."""
        return images, output, photos, codes, model, (gate, days, most), others


def test_a_path_is_as_good_as_its_text():
    assert Calls().call(Path("a"), Path("b"), Path("c"))[:3] == ("a", "b", ("c",))


@pytest.mark.parametrize("photos", ["a.jpg", Path("a.jpg"), ["a.jpg"], (Path("a.jpg"),), {"a.jpg"}])
def test_one_photo_is_not_taken_for_its_letters(photos: object):
    assert Calls().call(photos=photos, codes="CORRUPT")[2:4] == (("a.jpg",), ("CORRUPT",))


def test_the_rest_is_passed_on():
    assert Calls().call(more=3)[-1] == {"more": 3}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"images": 3}, "call: images is a path or URI, not 3"),
        ({"images": None}, "call: images is a path or URI, not None"),
        ({"output": b"a"}, "output is a path or URI, or None, not b'a'"),
        ({"photos": [1]}, r"photos is a path or URI, or a sequence of them, not \[1\]"),
        ({"codes": 7}, "codes is text or a sequence of texts, not 7"),
        ({"model": Path("m")}, "model is text, not "),
        ({"gate": "false"}, "gate is True or False, not 'false'"),
        ({"days": "7"}, "days is a number, not '7'"),
        ({"most": 1.5}, "most is a whole number, not 1.5"),
    ],
)
def test_anything_else_is_named_with_what_is_taken(wrong: dict[str, object], said: str):
    with pytest.raises(ConfigurationError, match=said):
        Calls().call(**wrong)


def test_numbers_of_numpy_are_numbers():
    given = Calls().call(days=np.int64(3), most=np.int32(2))[-2]
    assert (given, *map(type, given)) == ((True, 3.0, 2), bool, float, int)


def test_every_public_call_that_takes_something_says_what():
    calls = [call for name, call in vars(Workspace).items() if name[0] != "_" and callable(call)]
    unchecked = [one.__name__ for one in calls if not hasattr(one, "__wrapped__")]
    assert all(len(inspect.signature(getattr(Workspace, one)).parameters) == 1 for one in unchecked)
    with pytest.raises(ConfigurationError, match=r"config is a TrainConfig, not {'head'"):
        Workspace("/nowhere").train("images", "m", {"head": "linear"})


def test_the_call_is_named_where_its_arguments_are_wrong():
    with pytest.raises(ConfigurationError, match=r"^Workspace: uri is a path or URI, not None"):
        Workspace(None)
    with pytest.raises(TypeError, match=r"embed\(\) got an unexpected keyword argument 'bacbone'"):
        Workspace("w").embed("pics", bacbone="pixels")


def test_a_workspace_and_its_images_may_be_paths(tmp_path: Path):
    found = Workspace(tmp_path / "workspace").manifest(fill(tmp_path / "bucket", 2))
    assert found.objects == 2


def test_labels_of_a_model_that_is_not_there_are_refused(workspace: Folder):
    with pytest.raises(ConfigurationError, match="no model 'typo'"):
        Workspace(workspace.uri).labels("typo")


def test_settings_of_a_training_are_given_by_name():
    config = with_settings(
        TrainConfig(), {"head": "kernel", "kernel": {"gamma": 0.1}, "fine_tuning": {"layers": 2}}
    )
    assert config.head == "kernel"
    assert config.kernel == KernelConfig(gamma=(0.1,))
    assert config.fine_tuning == FineTuningConfig(layers=2)
    assert with_settings(TrainConfig(), {"labels": ["a", "b"]}).labels == ("a", "b")
    assert with_settings(TrainConfig(), {"kernel": KernelConfig(centres=5)}).kernel.centres == 5


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"haed": "linear"}, "no setting 'haed': did you mean 'head'"),
        ({"kernel": {"gama": 1}}, "KernelConfig has no setting 'gama': did you mean 'gamma'"),
        ({"kernel": 5}, "kernel is a KernelConfig or a mapping of its settings"),
        ({"fine_tuning": True}, "fine_tuning is a FineTuningConfig or a mapping"),
        ({"split": None}, "split is a SplitConfig or a mapping"),
        ({"seed": "one"}, "seed: a value is of the wrong type"),
        ({"head": "lineal"}, "unknown head 'lineal'"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, object], said: str):
    with pytest.raises(ConfigurationError, match=said):
        with_settings(TrainConfig(), settings)

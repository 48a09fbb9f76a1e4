from dataclasses import dataclass

import pytest

from linnaeus.errors import ConfigurationError
from linnaeus.training.drop_in.flags import flag, parse


@dataclass(frozen=True)
class Flags:
    """An old program."""

    image_dir: str = flag("", "Pictures.")
    steps: int = flag(4000, "How many; 100 % of them.")
    size: int | None = flag(None, "In pixels.")
    rate: float = flag(0.01, "Step size.")
    flip: bool = flag(False, "Mirror.")
    mirror: bool = flag(True, "Mirror, too.")
    level: str = flag("INFO", "How loud.", ("INFO", "DEBUG"))


def test_without_flags_there_are_the_defaults():
    assert parse(Flags, "old", []) == Flags("", 4000, None, 0.01, False, True, "INFO")


def test_a_value_follows_an_equals_sign_or_a_space():
    given = ["--image_dir=a b", "--steps", "7", "--size=8", "--rate", "1e-3", "--level=DEBUG"]
    assert parse(Flags, "old", given) == Flags("a b", 7, 8, 0.001, False, True, "DEBUG")


@pytest.mark.parametrize(
    ("given", "flip", "mirror"),
    [
        (["--flip"], True, True),
        (["--flip=True"], True, True),
        (["--flip", "true", "--mirror=0"], True, False),
        (["--flip=false"], False, True),
        (["--noflip", "--nomirror"], False, False),
        (["--flip", "--image_dir=x"], True, True),
    ],
)
def test_a_boolean_is_alone_negated_or_given(given: list[str], flip: bool, mirror: bool):
    flags = parse(Flags, "old", given)
    assert (flags.flip, flags.mirror) == (flip, mirror)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("--stepps=1", "--stepps"),
        ("--steps=many", "--steps"),
        ("--flip=perhaps", "'perhaps'"),
        ("--level=LOUD", "LOUD"),
    ],
)
def test_a_wrong_flag_is_named_in_one_line(given: str, named: str):
    with pytest.raises(ConfigurationError, match=named) as caught:
        parse(Flags, "old", [given])
    assert "\n" not in str(caught.value)


def test_help_lists_every_flag_with_its_default(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        parse(Flags, "old", ["--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    assert "--image_dir" in text
    assert "100 % of them. (default: 4000)" in text
    assert "--noflip" not in text

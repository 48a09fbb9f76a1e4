"""A slice of a run: which of its shards one of several processes does.

`3/16` is the third of sixteen. On a batch system every process gets the same command, and its own
number from the environment: `auto/16`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from linnaeus.errors import ConfigurationError

INDEX_VARIABLES = ("AWS_BATCH_JOB_ARRAY_INDEX", "JOB_COMPLETION_INDEX", "CLOUD_RUN_TASK_INDEX")
"""Where AWS Batch, Kubernetes and Cloud Run put a process's number, which counts from 0."""
COUNT_VARIABLES = ("LINNAEUS_SLICES", "CLOUD_RUN_TASK_COUNT")
_FORM = re.compile(r"(auto|[0-9]{1,9})(?:/([0-9]{1,9}))?")


@dataclass(frozen=True)
class Slice:
    """The `index`-th of `count` slices, from 1."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse(text: str, environment: Mapping[str, str] = os.environ) -> Slice:
    """A slice from `3/16`, `auto/16` (which of them says the environment), or `auto` alone.

    Raises:
        ConfigurationError: it is none of these, or the environment does not say what it should.
    """
    form = _FORM.fullmatch(text.strip())
    if not form or (form[1] != "auto" and not form[2]):
        raise ConfigurationError(
            f"--slice {text}: write 3/16 for the third of sixteen, or auto/16 where the "
            "environment says which"
        )
    count = int(form[2]) if form[2] else _from_environment(text, COUNT_VARIABLES, environment)
    if form[1] == "auto":
        return _automatic(text, count, environment)
    if not 1 <= int(form[1]) <= count:
        raise ConfigurationError(
            f"--slice {text}: slices are numbered from 1/{count} to {count}/{count}"
        )
    return Slice(int(form[1]), count)


def _automatic(text: str, count: int, environment: Mapping[str, str]) -> Slice:
    index = _from_environment(text, INDEX_VARIABLES, environment)
    if index >= count:
        name = _set_among(INDEX_VARIABLES, environment)
        raise ConfigurationError(
            f"--slice {text}: {name} is {index}, which counts from 0, but there are only {count} "
            "slices: start as many processes as slices"
        )
    return Slice(index + 1, count)


def _from_environment(text: str, names: tuple[str, ...], environment: Mapping[str, str]) -> int:
    name = _set_among(names, environment)
    if name is None:
        remedy = "write 3/16" if names is INDEX_VARIABLES else "write auto/16"
        raise ConfigurationError(
            f"--slice {text}: none of {', '.join(names)} is set: {remedy} or so, or set one"
        )
    value = environment[name]
    if not (value.isascii() and value.isdigit()):
        raise ConfigurationError(f"--slice {text}: {name} is {value!r}, which is no number")
    return int(value)


def _set_among(names: tuple[str, ...], environment: Mapping[str, str]) -> str | None:
    return next((name for name in names if environment.get(name)), None)


def shards_of(one: Slice, shards: int) -> range:
    """The shards of a slice, spread over the run; none where there are more slices than shards.

    Shards of a run differ: those that only read stored vectors come first.
    """
    return range(one.index - 1, shards, one.count)

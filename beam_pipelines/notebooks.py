"""Beam in a notebook, run as in a program."""

from collections.abc import Iterator
from contextlib import contextmanager

import apache_beam.pipeline
from apache_beam.utils import interactive_utils


@contextmanager
def as_in_a_program() -> Iterator[None]:
    """Within it, Beam takes no notice of IPython.

    Else it imports its interactive runner, only to put a cell's number before the names of steps,
    and that import fails beside pandas 2.4 and later.
    """
    users = (apache_beam.pipeline, interactive_utils)
    noticed = interactive_utils.is_in_ipython
    try:
        for module in users:
            module.is_in_ipython = _never
        yield
    finally:
        for module in users:
            module.is_in_ipython = noticed


def _never() -> bool:
    return False

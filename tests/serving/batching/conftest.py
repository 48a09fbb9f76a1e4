"""A model in NumPy that remembers what it was given."""

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


def signature(inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """What batching reads of a SignatureDef: the names of its tensors."""
    return SimpleNamespace(
        inputs={name: SimpleNamespace(name=name) for name in inputs},
        outputs={name: SimpleNamespace(name=name) for name in outputs},
    )


class Doubler:
    """`double`, `sum` and `first` of each row of `x`; `total` and `scalar` have no row for each."""

    def __init__(self) -> None:
        self.signatures = {
            "serving_default": signature(["x"], ["double", "sum", "first"]),
            "totals": signature(["x"], ["double", "total", "scalar"]),
            "two": signature(["x", "y"], ["double"]),
        }
        self.batches: list[np.ndarray] = []
        self.may_run = threading.Event()
        self.may_run.set()
        self.entered = threading.Semaphore(0)

    def run(self, feeds, fetches, timeout_seconds=None):
        self.entered.release()
        assert self.may_run.wait(30)
        x = feeds["x"]
        self.batches.append(x)
        if x.dtype == object and b"bad" in x:
            raise ValueError("a bad row")
        computed = {
            "double": x + x,
            "sum": x.reshape(len(x), int(np.prod(x.shape[1:]))).sum(axis=1),
            "first": x[:, :1] if x.ndim > 1 else x,
            "total": np.array([1.0, 2.0, 3.0]),
            "scalar": np.array(1.0),
        }
        return [computed[name] for name in fetches]

    @property
    def sizes(self):
        return [len(x) for x in self.batches]


@pytest.fixture
def doubler():
    return Doubler()


@pytest.fixture(scope="session")
def doubler_class():
    return Doubler

"""A loaded model and a catalog that need no files, for what no SavedModel does at will."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


def identity_signature() -> Any:
    """`x` to `y`, both float32."""
    from tensorflow.core.protobuf import meta_graph_pb2

    return meta_graph_pb2.SignatureDef(
        inputs={"x": {"name": "x:0", "dtype": 1}},
        outputs={"y": {"name": "y:0", "dtype": 1}},
    )


@dataclass
class StubModel:
    """Does as it is told, and remembers how long each caller would wait."""

    act: Callable[[], None] = lambda: None
    timeouts: list[float | None] = field(default_factory=list)

    @property
    def signatures(self) -> dict[str, Any]:
        return {"serving_default": identity_signature()}

    def run(
        self,
        feeds: Mapping[str, Any],
        fetches: Sequence[str],
        timeout_seconds: float | None = None,
    ) -> list[Any]:
        self.timeouts.append(timeout_seconds)
        self.act()
        return [np.asarray(feeds["x:0"]) for _ in fetches]


@dataclass
class StubCatalog:
    """Finds one model whatever is asked for."""

    model: StubModel

    def find(self, request: Any) -> tuple[int, StubModel]:
        return 1, self.model

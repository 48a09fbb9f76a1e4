"""The skew gate before a model is published: its exported graph against the workers' own path.

The graph is loaded into this process, as a server would load it; whether the server that is asked
later sees the same is compared again before it is asked for labels.
"""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linnaeus.models import load
from linnaeus.planning import EmbedJob
from linnaeus.signatures import INPUTS
from linnaeus.storage import Folder
from linnaeus.worker import Worker
from linnaeus.workflow.candidates import Candidate


def refuse_skew(workspace: Folder, candidate: Candidate, payload: str) -> int:
    """Refuse a candidate whose graph sees its golden images otherwise than a worker here.

    Returns:
        How many images were compared.

    Raises:
        GateFailed: it does.
    """
    from linnaeus.training.exporting.published import opened
    from serving.client import skew

    golden = load(candidate.home, candidate.model)
    run = EmbedJob(candidate.model.fingerprint).new_run("", "")
    with (
        opened(candidate.home, candidate.model) as graph,
        closing(Worker(workspace, run)) as worker,
    ):
        served = skew.Served(_Graph(graph), candidate.model)
        comparisons = skew.compare(served, golden, payload, worker)
    skew.refuse_skew("the exported graph", candidate.model, comparisons)
    return len(golden)


class _Graph:
    """Answers as a server does that has loaded the graph."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    def ask(
        self,
        model: str,
        version: int,
        signature: str,
        values: Sequence[bytes | NDArray[Any]],
        outputs: Sequence[str],
    ) -> dict[str, NDArray[Any]]:
        """Some outputs of one call, by name."""
        rows = values if isinstance(values[0], bytes) else np.stack(values)
        results = self._graph.call(signature, **{INPUTS[signature]: rows})
        return {name: results[name] for name in outputs}

"""What the services ask of a loaded model, whatever runs it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

Feeds = Mapping[str, NDArray[Any]]
"""Tensor name -> array; strings are objects of type `bytes`."""


class Servable(Protocol):
    """One version of a model in memory."""

    @property
    def signatures(self) -> Mapping[str, Any]:
        """Signature name -> SignatureDef."""

    def run(
        self, feeds: Feeds, fetches: Sequence[str], timeout_seconds: float | None = None
    ) -> list[NDArray[Any]]:
        """Compute tensors from tensors; thread-safe.

        Args:
            feeds: what the graph is given.
            fetches: tensor names.
            timeout_seconds: how long the caller will wait; None for ever.

        Returns:
            The fetched arrays, in order; strings as objects of type `bytes`.

        Raises:
            StatusError: the model refuses the request.
        """

"""Which of a model's versions are to be served."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class VersionPolicy:
    """`ServableVersionPolicy` of `config/file_system_storage_path_source.proto`.

    Args:
        most: this many of the highest versions at most; None for no limit.
        only: these versions and no others; None for any.
    """

    most: int | None = 1
    only: frozenset[int] | None = None

    def candidates(self, versions: Collection[int]) -> list[int]:
        """The versions that may be served, the most wanted first, before `most` cuts them."""
        return sorted((v for v in versions if self.only is None or v in self.only), reverse=True)


NEWEST = VersionPolicy()


def specific(*versions: int) -> VersionPolicy:
    """The policy that serves the versions named, all of them at once."""
    return VersionPolicy(most=None, only=frozenset(versions))

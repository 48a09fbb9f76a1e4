"""Leases: who may do something that is wasted if two do it at once.

A lease is a numbered file, created and never overwritten by others; the highest number counts. One
whose owner is dead for certain, or has not renewed it for a while by the store's clock, is taken
over under the next number, which only one of many can create. A lease saves work and protects
nothing: whoever was asleep may wake up without it, so what must not be done twice is decided by a
create-only write.
"""

import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from linnaeus import layout
from linnaeus.documents import Document
from linnaeus.errors import LinnaeusError
from linnaeus.process import identity, is_dead
from linnaeus.storage.folder import Folder
from linnaeus.storage.uris import Entry

LEASE = timedelta(minutes=10)
"""Without a sign of life its owner is taken for dead."""
CLOCKS_APART = timedelta(seconds=-10)
"""A sign from further ahead is none: a store's servers agree better, so its clock was set back."""


class LeaseLost(LinnaeusError):  # noqa: N818 - as the others are named
    """Somebody took the lease over, since its owner had not renewed it in time."""


@dataclass(frozen=True)
class Lease:
    """A lease that was taken, by the number of its file, and who took it."""

    workspace: Folder
    name: str
    number: int
    owner: bytes
    """Its own in each lease: numbers begin anew where nobody has the lease."""

    @property
    def _key(self) -> str:
        return layout.lease(self.name, self.number)

    def renew(self) -> None:
        """Say that the owner is alive.

        Raises:
            LeaseLost: it is another's by now.
        """
        if not self._is_held():
            raise LeaseLost(f"{self.workspace.uri_of(self._key)}: another process took over")
        self.workspace.write(self._key, self.owner)

    def release(self) -> None:
        """Let the next one have it."""
        if self._is_held():
            self.workspace.delete(self._key)

    def _is_held(self) -> bool:
        newest = _newest(self.workspace, self.name)
        if newest is None or newest[0] != self.number:
            return False
        return self.workspace.read_or_none(self._key) == self.owner


@contextmanager
def leased(
    workspace: Folder, name: str, lease: timedelta = LEASE, note: Mapping[str, str] | None = None
) -> Iterator[Lease | None]:
    """The lease of that name while the context lasts, or None where somebody else has it.

    Whoever finds it taken reads in the `note` what for.
    """
    taken = _take(workspace, name, lease, note or {})
    try:
        yield taken
    finally:
        if taken:
            taken.release()


@dataclass(frozen=True)
class Holder(Document):
    """Who has a lease, and what for."""

    host: str = ""
    process: int = 0
    identity: str = ""
    note: Mapping[str, str] = field(default_factory=dict)
    token: str = ""


def holder(workspace: Folder, name: str) -> Holder | None:
    """Who has the lease, as far as their file can be understood; None where nobody has."""
    newest = _newest(workspace, name)
    if newest is None:
        return None
    return Holder.read_if_sound(workspace, newest[1].key) or Holder()


def _take(workspace: Folder, name: str, lease: timedelta, note: Mapping[str, str]) -> Lease | None:
    newest = _newest(workspace, name)
    number = 0
    if newest is not None:
        number, entry = newest
        dead = is_dead((Holder.read_if_sound(workspace, entry.key) or Holder()).identity)
        if not dead and CLOCKS_APART < store_time(workspace) - entry.modified < lease:
            return None
    taken = Lease(workspace, name, number + 1, _owner(note))
    if not workspace.write_own(layout.lease(name, number + 1), taken.owner):
        return None
    if newest is not None:
        workspace.delete(layout.lease(name, number))
    return taken


def _newest(workspace: Folder, name: str) -> tuple[int, Entry] | None:
    """The number and the file that count; there are hardly ever two."""
    found = workspace.numbered(layout.leases(name), partial(layout.lease, name))
    return max(found.items(), key=lambda one: one[0], default=None)


def _owner(note: Mapping[str, str]) -> bytes:
    host, token = socket.gethostname(), secrets.token_hex()
    return Holder(host, os.getpid(), identity(), note, token).to_json().encode()


def store_time(workspace: Folder) -> datetime:
    """The time by the clock that dates the workspace's objects, which may not be this machine's."""
    probe = layout.clock(secrets.token_hex(8))
    workspace.write(probe, b"")
    try:
        entry = workspace.head(probe)
    finally:
        workspace.delete(probe)
    if entry is None:
        raise LinnaeusError(f"{workspace.uri}: what was written there is gone at once")
    return entry.modified

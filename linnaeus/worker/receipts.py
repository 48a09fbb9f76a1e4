"""What says that a shard is done: the last part of the attempt that did it, and its metadata."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from linnaeus import layout
from linnaeus.documents import Document, intact
from linnaeus.planning import RunSpec, job_of
from linnaeus.records import Counts
from linnaeus.storage import Entry, Folder
from linnaeus.tables import Part, parts

READERS = 32
_REMEDY = "delete it and run the same command again"


@dataclass(frozen=True)
class Timings:
    """Milliseconds of a shard: reading and decoding summed over threads, waited for the engine."""

    read_msec: float = 0.0
    decode_msec: float = 0.0
    inference_msec: float = 0.0


@dataclass(frozen=True)
class Receipt(Document, remedy=_REMEDY):
    """What a finished shard did: its counts, and the parts of the attempt that did it."""

    shard: int
    counts: Counts
    parts: dict[str, Part] = field(default_factory=dict)
    """By table's key; without the receipt's own part, and without empty ones."""
    timings: Timings = Timings()


def receipt_key(run: RunSpec, number: int) -> str:
    """Where a shard's receipt lies once it is done."""
    return layout.shard_part(job_of(run).receipt_table, run.run_id, number)


def read_receipt(workspace: Folder, run: RunSpec, number: int) -> Receipt:
    """A done shard's receipt."""
    return _read(workspace, receipt_key(run, number))


def _read(workspace: Folder, key: str, size_bytes: int | None = None) -> Receipt:
    """`size_bytes`, of its part, saves a request."""
    uri = workspace.uri_of(key)
    with intact(uri, _REMEDY):
        text = parts.read_metadata(workspace, key, size_bytes)["receipt"]
    return Receipt.from_json(text, uri)


@dataclass(frozen=True)
class Arrival:
    """A receipt that has appeared: what it says, its own part, and when, by the store's clock."""

    receipt: Receipt
    part: Part
    appeared: datetime


class ReceiptReader:
    """Reads a run's receipts as they appear, each once. Several threads may use it."""

    def __init__(self, workspace: Folder, run: RunSpec) -> None:
        self._workspace, self._run = workspace, run
        self._arrived: dict[int, Arrival] = {}
        self._lock = threading.Lock()

    @property
    def arrived(self) -> list[Arrival]:
        """What was read so far, by shard."""
        return [self._arrived[number] for number in sorted(self._arrived)]

    def poll(self) -> list[Arrival]:
        """All receipts that are there now, by shard; only new ones are read.

        Raises:
            StorageError: the workspace cannot be read. What was read before that is kept.
        """
        with self._lock:
            entries = receipts_listed(self._workspace, self._run)
            new = [entry for number, entry in entries.items() if number not in self._arrived]
            with ThreadPoolExecutor(READERS) as pool:
                for arrival in pool.map(self._read, new):
                    self._arrived[arrival.receipt.shard] = arrival
            return self.arrived

    def _read(self, entry: Entry) -> Arrival:
        receipt = _read(self._workspace, entry.key, entry.size)
        part = Part(entry.key, entry.size, receipt.counts.done)
        return Arrival(receipt, part, entry.modified)


def receipts_listed(workspace: Folder, run: RunSpec) -> dict[int, Entry]:
    """The receipts that are there, by shard; none is read."""
    table = job_of(run).receipt_table
    key_of = partial(layout.shard_part, table, run.run_id)
    listed = workspace.numbered(f"{table}/{run.run_id}", key_of)
    return {shard: entry for shard, entry in listed.items() if shard < len(run.shard_sizes)}

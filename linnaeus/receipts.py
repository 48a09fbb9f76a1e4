"""What says that a shard is done: the last part of the attempt that did it, and its metadata."""

import json
from dataclasses import asdict, dataclass, field

from linnaeus import layout, parts
from linnaeus.parts import Part
from linnaeus.plans import RunSpec
from linnaeus.records import Counts
from linnaeus.storage import Folder


@dataclass(frozen=True)
class Timings:
    """Milliseconds of a shard: reading and decoding summed over threads, waited for the engine."""

    read_msec: float = 0.0
    decode_msec: float = 0.0
    inference_msec: float = 0.0


@dataclass(frozen=True)
class Receipt:
    """What a finished shard did: its counts, and the parts of the attempt that did it."""

    shard: int
    counts: Counts
    parts: dict[str, Part] = field(default_factory=dict)
    """By table's key; without the receipt's own part, and without empty ones."""
    timings: Timings = Timings()

    def to_json(self) -> str:
        """For the last part's metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Receipt":
        """The inverse of `to_json`."""
        fields = json.loads(text)
        return cls(
            fields["shard"],
            Counts(**fields["counts"]),
            {table: Part(**part) for table, part in fields["parts"].items()},
            Timings(**fields["timings"]),
        )


def receipt_table(run: RunSpec) -> str:
    """The table whose part is written last, and so says that a shard is done."""
    return layout.predictions(run.model) if run.job == "score" else layout.OBJECTS


def read_receipt(
    workspace: Folder, run: RunSpec, number: int, size_bytes: int | None = None
) -> Receipt:
    """A done shard's receipt; `size_bytes`, of its part, saves a request."""
    key = layout.shard_part(receipt_table(run), run.run_id, number)
    return Receipt.from_json(parts.read_metadata(workspace, key, size_bytes)["receipt"])

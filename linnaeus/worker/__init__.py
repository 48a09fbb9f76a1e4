"""Inside a shard: read, decode, embed, ask the server, write parts and the receipt.

May import `engines`, `models`, `planning` and `manifests`, and what lies below.
"""

from linnaeus.worker.embedding_loop import Failure, Outcome, Source, decoded, embed_objects
from linnaeus.worker.estimate import estimate_seconds
from linnaeus.worker.receipts import (
    Arrival,
    Receipt,
    ReceiptReader,
    Timings,
    receipts_listed,
)
from linnaeus.worker.rows import score_failure
from linnaeus.worker.shards import do_shard, read
from linnaeus.worker.worker import Answer, Scorer, Worker

__all__ = [
    "Answer",
    "Arrival",
    "Failure",
    "Outcome",
    "Receipt",
    "ReceiptReader",
    "Scorer",
    "Source",
    "Timings",
    "Worker",
    "decoded",
    "do_shard",
    "embed_objects",
    "estimate_seconds",
    "read",
    "receipts_listed",
    "score_failure",
]

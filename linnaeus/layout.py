"""Where everything lies below a workspace's root; keys are relative to it."""

import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Of a model or a backbone's fingerprint; a folder with another one is somebody else's."""
RUN_ID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
"""A ULID."""
MANIFESTS = "manifests"
MANIFEST_NUMBERS = "versions/.manifests"
"""Says of each manifest that there ever was that its number is given."""
MODELS = "models"
CANDIDATES = "candidates"
OBJECTS = "objects"
FAILURES = "failures"
RUNS = "runs"
WORKFLOW_RUNS = "workflow_runs"
RUN_INDEX = f"{RUNS}/.index"
RUN_NAMES = f"{RUNS}/.names"
COMPACTED = "compacted"
"""Folder of a table with the parts that compaction merged from those of runs."""


def embeddings(fingerprint: str) -> str:
    """Table of one backbone's embeddings."""
    return f"embeddings/{fingerprint}"


def predictions(model: str) -> str:
    """Table of everything a model ever said."""
    return f"predictions/{model}"


def labels(model: str) -> str:
    """Table of what a model says now: one row an object."""
    return f"labels/{model}"


def plan(run_id: str) -> str:
    """The frozen list of a run's work, one row group a shard."""
    return f"{RUNS}/{run_id}/plan.parquet"


def summary(run_id: str) -> str:
    """Exists when the run is committed."""
    return f"{RUNS}/{run_id}/summary.json"


def progress(run_id: str) -> str:
    """How far a run is, as its launcher last saw it."""
    return f"{RUNS}/{run_id}/progress.json"


def graph(run_id: str) -> str:
    """A job's graph, of a dry run."""
    return f"{RUNS}/{run_id}/graph.json"


def held_out_predictions(run_id: str) -> str:
    """What a training run's model says of every validation and test picture."""
    return f"{RUNS}/{run_id}/held_out_predictions.parquet"


def changes(run_id: str) -> str:
    """The labels that a scoring run changed."""
    return f"{RUNS}/{run_id}/changes.parquet"


def report(run_id: str) -> str:
    """The page to look at, if somebody asked for one."""
    return f"{RUNS}/{run_id}/report.html"


def attempt(run_id: str, shard: int, number: int) -> str:
    """Marker that a worker began a shard."""
    return f"{RUNS}/{run_id}/attempts/{shard:05d}-{number}"


def run_index(key: str) -> str:
    """Folder of the numbered runs of one job, source, backbone or model and options."""
    return f"{RUN_INDEX}/{key}"


def claim(index: str, number: int) -> str:
    """Says which run has that number of an index; never overwritten or deleted."""
    return f"{index}/{number:08d}"


def run_name(name: str) -> str:
    """Says which run was frozen under a name; whoever creates it first has given it."""
    return f"{RUN_NAMES}/{name}"


def version_claims(model: str) -> str:
    """Folder of the numbers that a model's versions ever had; it outlives the versions."""
    return f"versions/{model}"


def shard_part(table: str, run_id: str, shard: int) -> str:
    """A shard's last part, its receipt: whoever creates it has done the shard."""
    return f"{table}/{run_id}/{shard:05d}.parquet"


def attempt_part(table: str, run_id: str, shard: int, number: int) -> str:
    """Another part of one attempt at a shard; it counts if the receipt names it."""
    return f"{table}/{run_id}/{shard:05d}-{number}.parquet"


def compacted_part(table: str, name: str) -> str:
    """A part merged from others."""
    return f"{table}/{COMPACTED}/{name}.parquet"


def leases(name: str) -> str:
    """Folder of the lease of that name."""
    return f"leases/{name}"


def lease(name: str, number: int) -> str:
    """Exists while somebody has the lease; the highest number counts."""
    return f"{leases(name)}/{number:08d}"


def clock(name: str) -> str:
    """Written, and deleted at once, to learn the store's time."""
    return f"leases/.clock/{name}"

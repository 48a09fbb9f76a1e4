"""How long a plan would take on this machine, measured on some of its own images."""

import time
from dataclasses import replace
from itertools import islice

from linnaeus import backbones
from linnaeus.backbones import BackboneSpec
from linnaeus.engines import Engine, open_engine
from linnaeus.errors import ConfigurationError
from linnaeus.images import isolation
from linnaeus.planning import RunPlan
from linnaeus.records import ObjectReference
from linnaeus.storage import Folder
from linnaeus.worker.embedding_loop import Source, embed_objects
from linnaeus.worker.shards import read

SAMPLE_IMAGES = 64


def estimate_seconds(workspace: Folder, spec: BackboneSpec, plan: RunPlan) -> dict[str, float]:
    """Seconds the plan's new images would take, by precision: the backbone's, and bfloat16.

    A reduced precision appears where this processor has the instructions; nothing appears where
    nothing is to embed.
    """
    references = _sample(plan)
    if not references:
        return {}
    files = backbones.local_files(workspace, spec.fingerprint)
    seconds = {}
    for precision in dict.fromkeys([spec.precision, "bfloat16"]):
        candidate = replace(spec, precision=precision)
        try:
            engine = open_engine(files, candidate)
        except ConfigurationError:
            if precision == spec.precision:
                raise
            continue
        good = _embed(references[:4], spec, engine) + references[4:]
        started = time.perf_counter()
        references = _embed(good, spec, engine)  # what cannot be decoded may take long
        taken = time.perf_counter() - started
        seconds[precision] = taken / max(1, len(good)) * plan.draft.new_objects
        engine.close()
    return seconds


def _sample(plan: RunPlan) -> list[ObjectReference]:
    rows = (row for shard in plan.draft.shards() for row in shard.to_pylist())
    new = islice((row for row in rows if not row["embedded"]), SAMPLE_IMAGES)
    return [ObjectReference(row["uri"], row["etag"], row["size"]) for row in new]


def _embed(
    references: list[ObjectReference], spec: BackboneSpec, engine: Engine
) -> list[ObjectReference]:
    """Embed some; those that could be."""
    source = Source(read, lambda data: isolation.decode(data, spec.height, spec.width))
    outcomes = embed_objects(references, source, engine)
    return [outcome.reference for outcome in outcomes if not outcome.failure]

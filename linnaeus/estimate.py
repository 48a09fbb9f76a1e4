"""How long a plan would take on this machine, measured on some of its own images."""

import time
from dataclasses import replace
from itertools import islice

from linnaeus import backbones, isolation
from linnaeus.backbones.spec import BackboneSpec
from linnaeus.embedding import Source, embed_objects
from linnaeus.engines import Engine, open_engine
from linnaeus.errors import ConfigurationError
from linnaeus.records import ObjectReference
from linnaeus.runs import RunPlan
from linnaeus.storage import Folder, read_object

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
        _embed(references[:4], spec, engine)
        started = time.perf_counter()
        _embed(references, spec, engine)
        taken = time.perf_counter() - started
        seconds[precision] = taken / len(references) * plan.draft.new_objects
        engine.close()
    return seconds


def _sample(plan: RunPlan) -> list[ObjectReference]:
    rows = (row for shard in plan.draft.shards() for row in shard.to_pylist())
    new = islice((row for row in rows if not row["embedded"]), SAMPLE_IMAGES)
    return [ObjectReference(row["uri"], row["etag"], row["size"]) for row in new]


def _embed(references: list[ObjectReference], spec: BackboneSpec, engine: Engine) -> None:
    source = Source(
        lambda reference: read_object(reference.uri, reference.etag),
        lambda data: isolation.decode(data, spec.height, spec.width),
    )
    for _ in embed_objects(references, source, engine):
        pass

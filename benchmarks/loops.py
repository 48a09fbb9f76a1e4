"""From files to vectors: the bare parts, the inner function that joins them, and the whole job."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring import Measure, Readings, job_rate, rate_of, seconds_of
from benchmarks.setting import BACKBONE, Setting, fresh_workspace
from linnaeus import images
from linnaeus.engines import open_engine
from linnaeus.images import isolation
from linnaeus.process import import_openvino, processors
from linnaeus.records import ObjectReference
from linnaeus.storage.local import etag_of
from linnaeus.worker import Source, embed_objects, read


def decoder(setting: Setting) -> Measure:
    """The bare decoder: encoded bytes to pixels, a thread a processor."""
    spec = setting.spec()

    def decode(data: bytes) -> None:
        images.decode(data, spec.height, spec.width)

    def decode_all(encoded: Sequence[bytes]) -> None:
        with ThreadPoolExecutor(processors()) as pool:
            exhaust(pool.map(decode, encoded))

    return rate_of("decoder", decode_all, [path.read_bytes() for path in setting.files()])


def engine(setting: Setting, precision: str) -> Measure:
    """The bare engine: OpenVINO's own queue over decoded pixels, its results left where they are.

    The properties are those that `linnaeus.engines.openvino` sets.
    """
    core = import_openvino().Core()
    network = core.read_model(setting.backbone_files(precision) / "openvino" / "model.xml")
    spec = setting.spec(precision)
    network.reshape([1, spec.height, spec.width, 3])
    properties = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": processors(),
        "ENABLE_CPU_PINNING": False,
    }
    queue = import_openvino().AsyncInferQueue(core.compile_model(network, "CPU", properties))

    def infer_all(pictures: Sequence[NDArray[np.uint8]]) -> None:
        for pixels in pictures:
            queue.start_async({0: pixels[np.newaxis]}, share_inputs=True)
        queue.wait_all()

    return rate_of(f"engine-{precision}", infer_all, _pixels(setting))


def inner(setting: Setting, precision: str) -> Measure:
    """`linnaeus.worker.embed_objects` over files, as a shard uses it."""
    spec = setting.spec(precision)
    opened = open_engine(setting.backbone_files(precision), spec, "openvino")
    source = Source(read, lambda data: isolation.decode(data, spec.height, spec.width))

    def embed_all(references: Sequence[ObjectReference]) -> None:
        outcomes = list(embed_objects(references, source, opened))
        assert all(outcome.embedding is not None for outcome in outcomes)

    return rate_of(f"inner-{precision}", embed_all, [_reference(p) for p in setting.files()])


def job(setting: Setting) -> Measure:
    """The whole Beam job `embed` into a workspace that has the backbone and nothing else."""
    from beam_pipelines.embed import EmbedRequest, embed

    pictures = {setting.few: setting.few_pictures, setting.images: setting.pictures}

    def seconds(count: int) -> float:
        request = EmbedRequest(str(pictures[count]), BACKBONE)
        with fresh_workspace(setting) as workspace:
            return seconds_of(lambda: embed(workspace, request))

    return job_rate("job", seconds, setting.few, setting.images)


def again(setting: Setting) -> Measure:
    """Embedding what is embedded already: the call, and the command with the process's start."""
    from linnaeus.workspace import Workspace

    arguments = ["embed", str(setting.pictures), "--workspace", setting.home.uri]
    command = [str(Path(sys.executable).with_name("linnaeus")), *arguments]

    def call() -> None:
        assert Workspace(setting.home.uri).embed(str(setting.pictures), BACKBONE).run_id is None

    def run() -> None:
        subprocess.run(command, check=True, capture_output=True)

    def measure() -> Readings:
        return {"again-call": seconds_of(call), "again": seconds_of(run)}

    measure()
    return measure


def exhaust(values: Iterable[Any]) -> None:
    """Take all values and keep none."""
    deque(values, maxlen=0)


def _pixels(setting: Setting) -> list[NDArray[np.uint8]]:
    spec = setting.spec()
    files = setting.files()
    return [images.decode(p.read_bytes(), spec.height, spec.width).pixels for p in files]


def _reference(path: Path) -> ObjectReference:
    status = path.stat()
    return ObjectReference(str(path), etag_of(status), status.st_size)

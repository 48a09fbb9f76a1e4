"""Every measurement by its name, in the order in which a round takes them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from benchmarks.measuring import Measure
from benchmarks.setting import BACKBONE, Setting


@dataclass(frozen=True)
class Measurement:
    """A function that makes ready and returns the `Measure`; its module is imported when used."""

    module: str
    function: str
    arguments: tuple[str, ...] = ()
    fresh: bool = False
    """Whether each round wants a new process, because a peak is measured."""
    on_demand: bool = False
    """Whether it is measured only when it is named, because it takes long or much space."""

    def prepare(self, setting: Setting) -> Measure:
        """Make ready in this process."""
        function = getattr(importlib.import_module(f"benchmarks.{self.module}"), self.function)
        measure: Measure = function(setting, *self.arguments)
        return measure


SIGNATURES = ("serving_default", "pixels", "embedding", "embed", "classify")

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
"""Of buckets, in objects."""
LABEL_FORMATS = ("parquet", "jsonl", "csv")
LABEL_ROWS = (100_000, 1_000_000, 10_000_000)
LARGE = 10_000_000
"""What is so large takes minutes and gigabytes, and is measured when it is named."""

MEASUREMENTS = {
    "decoder": Measurement("loops", "decoder"),
    "engine-float32": Measurement("loops", "engine", ("float32",)),
    "engine-bfloat16": Measurement("loops", "engine", ("bfloat16",)),
    "inner-float32": Measurement("loops", "inner", ("float32",)),
    "inner-bfloat16": Measurement("loops", "inner", ("bfloat16",)),
    "job": Measurement("loops", "job"),
    "again": Measurement("loops", "again"),
    "keras": Measurement("baselines", "keras_predict"),
    "run-inference": Measurement("baselines", "run_inference"),
    "score-embeddings": Measurement("scoring", "from_embeddings"),
    "score-images": Measurement("client_payloads", "payload", ("embedding",)),
    "score-images-sent": Measurement("client_payloads", "payload", ("image",)),
    "score-pixels-sent": Measurement("client_payloads", "payload", ("pixels",)),
    **{
        f"direct-{signature}": Measurement("serving_rates", "direct", (signature,))
        for signature in SIGNATURES
    },
    "served": Measurement("serving_rates", "served"),
    "single": Measurement("serving_rates", "single_rows", ("single",)),
    "batched": Measurement("serving_rates", "single_rows", ("batched",)),
    "switches": Measurement("serving_rates", "switches"),
    "bodies": Measurement("rest_bodies", "bodies"),
    "client-healthy": Measurement("client_rates", "healthy"),
    "client-refusing": Measurement("client_rates", "refusing"),
    "worker-memory": Measurement("resources", "worker_memory", fresh=True),
    "training": Measurement("resources", "training", ("auto",), fresh=True),
    "training-linear": Measurement("resources", "training", ("linear",), fresh=True),
    **{
        f"nights-{job}-{tidied}": Measurement("nights", "nights", (job, tidied), on_demand=True)
        for job in ("embed", "score")
        for tidied in ("tidied", "untidied")
    },
    "main-job": Measurement(
        "main_job", "main_job", ("20000", BACKBONE), fresh=True, on_demand=True
    ),
    "training-million": Measurement("resources", "training_million", fresh=True, on_demand=True),
    **{
        f"scale-{name}-{objects}": Measurement(
            "scale", function, (*kind, str(objects)), fresh=True, on_demand=objects >= LARGE
        )
        for name, function, *kind in (
            ("listing", "listing"),
            ("inventory-parquet", "inventory", "Parquet"),
            ("inventory-csv", "inventory", "CSV"),
            ("first", "first_plan"),
            ("plan", "plan"),
            ("nightly", "nightly"),
        )
        for objects in SIZES
    },
    **{
        f"label-files-{form}-{rows}": Measurement(
            "label_files", "written", (form, str(rows)), fresh=True, on_demand=rows >= LARGE
        )
        for form in LABEL_FORMATS
        for rows in LABEL_ROWS
    },
    "scale-commit-10000": Measurement("scale", "commit", ("10000",), fresh=True),
}

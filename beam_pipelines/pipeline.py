"""The Beam step of both jobs: one element is the number of a shard of a frozen plan."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

import apache_beam as beam
import apache_beam.pipeline
from apache_beam.metrics import Metrics
from apache_beam.runners.runner import PipelineResult
from apache_beam.utils import interactive_utils
from apache_beam.utils.shared import Shared

from beam_pipelines.commit_step import CommitRun, Ending
from beam_pipelines.runners.job_servers import stopped_with
from beam_pipelines.runners.resource_options import shard_hints
from beam_pipelines.worker_options import WorkerOptions, open_worker
from linnaeus.worker import Receipt, do_shard

NAMESPACE = "linnaeus"
NO_HINTS: Mapping[str, str] = MappingProxyType({})


class DoShard(beam.DoFn):
    """Does one shard; the backbone is loaded once a process, by the first shard that needs it."""

    def __init__(self, options: WorkerOptions) -> None:
        self._options = options
        self._shared = Shared()

    def setup(self) -> None:
        """Take this process's worker."""
        self._worker = self._shared.acquire(lambda: open_worker(self._options))

    def process(self, number: int) -> Iterator[str]:
        """From a shard's number to its receipt as JSON."""
        receipt = do_shard(self._worker, number)
        _measure(receipt)
        yield receipt.to_json()


def _measure(receipt: Receipt) -> None:
    """Beam counts attempts, so these show speed and trouble; tables and summaries count objects."""
    counts, timings = receipt.counts, receipt.timings
    Metrics.counter(NAMESPACE, "objects").inc(counts.planned)
    Metrics.counter(NAMESPACE, "bytes").inc(counts.bytes_read)
    for code, number in counts.codes.items():
        Metrics.counter(NAMESPACE, f"failed_{code}").inc(number)
    for name in ("read_msec", "decode_msec", "inference_msec"):
        Metrics.distribution(NAMESPACE, name).update(round(getattr(timings, name)))


def define_pipeline(
    root: beam.Pipeline, options: WorkerOptions, shards: int, hints: Mapping[str, str] = NO_HINTS
) -> beam.PCollection:
    """From the numbers of a plan's shards to their receipts (JSON); parses and picks nothing.

    `hints` say what the machines that do shards must have, as `with_resource_hints` takes them.
    """
    return (
        root
        | "List shards" >> beam.Create(range(shards), reshuffle=False)
        | "Spread shards" >> beam.Reshuffle()
        | "Do shards" >> beam.ParDo(DoShard(options)).with_resource_hints(**hints)
    )


def run_pipeline(
    options: WorkerOptions, shards: int, beam_options: Sequence[str], ending: Ending | None = None
) -> PipelineResult:
    """Run the pipeline and wait for its end; in this process unless options name a runner.

    With an `ending` the pipeline's last step commits the run.
    """
    argv = ["--runner=FnApiRunner", *beam_options]
    with as_in_a_program():
        pipeline = beam.Pipeline(argv=argv)
        with stopped_with(pipeline), pipeline:
            receipts = define_pipeline(pipeline, options, shards, shard_hints(pipeline.options))
            if ending:
                _ = receipts | "Commit run" >> CommitRun(ending)
    return pipeline.result


@contextmanager
def as_in_a_program() -> Iterator[None]:
    """Within it, Beam takes no notice of IPython.

    Else it imports its interactive runner, only to put a cell's number before the names of steps,
    and that import fails beside pandas 2.4 and later.
    """
    users = (apache_beam.pipeline, interactive_utils)
    noticed = interactive_utils.is_in_ipython
    try:
        for module in users:
            module.is_in_ipython = _never
        yield
    finally:
        for module in users:
            module.is_in_ipython = noticed


def _never() -> bool:
    return False

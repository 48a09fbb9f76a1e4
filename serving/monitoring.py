"""Counters and histograms of a server, as text that Prometheus reads.

Names, labels and buckets are those of `servables/tensorflow/util.cc`, the text is that of
`util/prometheus_exporter.cc`.
"""

import re
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import grpc

LATENCY_LIMITS_USEC = tuple(10 * 1.8**power for power in range(33))
RUNTIME = "TF1"
"""What TensorFlow Serving calls sessions, which run models of TensorFlow 2, too."""
EXAMPLE_LIMITS = tuple(float(2**power) for power in range(15))

Labels = tuple[str, ...]


class Counter:
    """How often something happened, by the values of its labels."""

    kind = "counter"

    def __init__(self, name: str, *label_names: str) -> None:
        self.name = name
        self._label_names = label_names
        self._counts: dict[Labels, int] = {}
        self._counting = threading.Lock()

    def add(self, count: int, *labels: str) -> None:
        """Count `count` more."""
        with self._counting:
            self._counts[labels] = self._counts.get(labels, 0) + count

    def lines(self) -> Iterator[str]:
        """One line for each combination of labels seen."""
        with self._counting:
            counts = sorted(self._counts.items())
        for labels, count in counts:
            yield f"{_sanitised(self.name)}{_braced(self._label_names, labels)} {count}"


class Histogram:
    """How often a value fell between limits, by the values of its labels."""

    kind = "histogram"

    def __init__(self, name: str, limits: Sequence[float], *label_names: str) -> None:
        self.name = name
        self._limits = limits
        self._label_names = label_names
        self._buckets: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        self._counting = threading.Lock()

    def add(self, value: float, *labels: str) -> None:
        """Count a value; one that equals a limit falls into the bucket above it."""
        with self._counting:
            buckets = self._buckets.setdefault(labels, [0] * (len(self._limits) + 1))
            buckets[bisect_right(self._limits, value)] += 1
            self._sums[labels] = self._sums.get(labels, 0.0) + value

    def lines(self) -> Iterator[str]:
        """A line for each bucket, cumulative, then the sum and the count."""
        with self._counting:
            seen = [(key, list(self._buckets[key]), self._sums[key]) for key in self._buckets]
        for labels, buckets, total in sorted(seen):
            yield from self._point(labels, list(accumulate(buckets)), total)

    def _point(self, labels: Labels, counts: list[int], total: float) -> Iterator[str]:
        name = _sanitised(self.name)
        for limit, count in zip([*map(_number, self._limits), "+Inf"], counts, strict=True):
            braced = _braced((*self._label_names, "le"), (*labels, limit))
            yield f"{name}_bucket{braced} {count}"
        yield f"{name}_sum{_braced(self._label_names, labels)} {_number(total)}"
        yield f"{name}_count{_braced(self._label_names, labels)} {counts[-1]}"


class Metrics:
    """What a server counts of its requests and warm-ups; thread-safe."""

    def __init__(self) -> None:
        serving = "/tensorflow/serving/"
        self._warm_up_latency = Histogram(
            serving + "model_warmup_latency", LATENCY_LIMITS_USEC, "model_path", "status"
        )
        self._request_count = Counter(serving + "request_count", "model_name", "status")
        self._examples = Counter(serving + "request_example_count_total", "model")
        self._example_counts = Histogram(
            serving + "request_example_counts", EXAMPLE_LIMITS, "model"
        )
        self._request_latency = Histogram(
            serving + "request_latency", LATENCY_LIMITS_USEC, "model_name", "API", "entrypoint"
        )
        self._runtime_latency = Histogram(
            serving + "runtime_latency", LATENCY_LIMITS_USEC, "model_name", "API", "runtime"
        )
        self._request = threading.local()
        self._graph_runs = Counter("/tensorflow/core/graph_runs")
        self._graph_run_usecs = Counter("/tensorflow/core/graph_run_time_usecs")

    def record_request(
        self, model: str, code: grpc.StatusCode, api: str, entrypoint: str, seconds: float
    ) -> None:
        """Count a request that was answered; only the latencies of good answers count.

        Args:
            model: as the request names it.
            code: of the answer.
            api: the call, such as `Predict` (`predict` over REST).
            entrypoint: `GRPC` or `REST`.
            seconds: from the request to its answer.
        """
        self._request_count.add(1, model, str(code.name))
        runtime_seconds = vars(self._request).pop("runtime_seconds", None)
        if code is grpc.StatusCode.OK:
            self._request_latency.add(_usecs(seconds), model, api, entrypoint)
            if runtime_seconds is not None:
                self._runtime_latency.add(
                    _usecs(runtime_seconds), model, api[0].upper() + api[1:], RUNTIME
                )

    def note_runtime(self, seconds: float) -> None:
        """Take note of how long this thread's request waited for its model."""
        before = getattr(self._request, "runtime_seconds", 0.0)
        self._request.runtime_seconds = before + seconds

    def record_run(self, seconds: float) -> None:
        """Count a run of a model's graph."""
        self._graph_runs.add(1)
        self._graph_run_usecs.add(_usecs(seconds))

    def record_examples(self, model: str, count: int) -> None:
        """Count the Examples of a Classify, Regress or MultiInference request."""
        self._example_counts.add(count, model)
        self._examples.add(count, model)

    def record_warm_up(self, folder: Path, seconds: float, succeeded: bool) -> None:
        """Count a version's warm-up."""
        status = "success" if succeeded else "fail"
        self._warm_up_latency.add(_usecs(seconds), str(folder), status)

    def text(self) -> str:
        """Everything counted so far, in Prometheus' text form."""
        metrics = sorted(
            (m for m in vars(self).values() if isinstance(m, Counter | Histogram)),
            key=lambda metric: metric.name,
        )
        lines = [line for metric in metrics for line in _typed_lines(metric)]
        return "\n".join(lines) + "\n"


def _typed_lines(metric: Counter | Histogram) -> Iterator[str]:
    yield f"# TYPE {_sanitised(metric.name)} {metric.kind}"
    yield from metric.lines()


def _sanitised(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", ":", name)


def _braced(names: Sequence[str], values: Sequence[str]) -> str:
    pairs = zip(names, values, strict=True)
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs) + "}"


def _escaped(value: str) -> str:
    # A line break, which TensorFlow Serving lets through, would end the line.
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return f"{value:.6g}"


def _usecs(seconds: float) -> int:
    return round(seconds * 1e6)

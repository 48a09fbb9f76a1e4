"""From readings to medians, ratios and goals: as a table for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from benchmarks.catalogue import LABEL_FORMATS, LABEL_ROWS, SIZES
from benchmarks.measuring import Readings

LIMITS = {
    f"limit-{precision}": ("decoder", f"engine-{precision}")
    for precision in ("float32", "bfloat16")
}
"""What decoding and inference can reach together on the same processors."""


@dataclass(frozen=True)
class Row:
    """One line of the table; `limit` is the key of what an embedding loop is held against."""

    key: str
    title: str
    unit: str
    limit: str | None = None
    baselines: bool = False
    """Whether it is held against the loops without linnaeus."""


def _embedding(key: str, title: str, precision: str) -> Row:
    return Row(key, title, "images/s", f"limit-{precision}", baselines=True)


def _training(key: str, title: str) -> tuple[Row, Row, Row]:
    return (
        Row(key, title, "s"),
        Row(f"{key}-fit", "  of which the fit", "s"),
        Row(f"{key}-memory", "  peak memory", "MB"),
    )


def _served(signature: str, rows: int) -> tuple[Row, ...]:
    key, unit = f"served-{signature}", "rows/s"
    return (
        Row(f"direct-{signature}", f"Session of {signature} itself, {rows} rows a call", unit),
        *(Row(f"{key}-{n}", f"  {signature} over gRPC, {n} in flight", unit) for n in (1, 8, 32)),
        *(Row(f"{key}-8-p{p}", f"  {signature}, 8 in flight, p{p}", "ms") for p in (50, 90, 99)),
    )


def _single_rows(key: str, signature: str, title: str) -> tuple[Row, ...]:
    key = f"{key}-{signature}"
    return (
        *(
            Row(f"{key}-{n}", f"One row of {signature}, {title}, {n} in flight", "rows/s")
            for n in (1, 8, 32)
        ),
        *(Row(f"{key}-32-p{p}", f"  {title}, 32 in flight, p{p}", "ms") for p in (50, 90, 99)),
    )


def _payload(key: str, title: str) -> tuple[Row, ...]:
    return (
        Row(key, title, "rows/s"),
        Row(f"{key}-start", "  its start-up in a running process", "s"),
        Row(f"{key}-bytes", "  sent for a row", "bytes"),
        Row(f"{key}-worker-cpu", "  the worker's processor time for a row", "ms"),
        Row(f"{key}-server-cpu", "  the server's processor time for a row", "ms"),
    )


def _client(key: str, title: str) -> tuple[Row, ...]:
    pools = (1, 2, 4, 8, 16, 32)
    return (
        Row(f"{key}-adaptive", f"Scoring client, {title}", "rows/s"),
        Row(f"{key}-adaptive-p50", "  its latency, median", "ms"),
        Row(f"{key}-adaptive-p99", "  its latency, 99th percentile", "ms"),
        Row(f"{key}-best-fixed", "  best fixed number of requests in flight", "rows/s"),
        Row(f"{key}-best-fixed-p50", "  its latency, median", "ms"),
        Row(f"{key}-best-fixed-p99", "  its latency, 99th percentile", "ms"),
        *(Row(f"{key}-fixed-{n}", f"  {n} in flight", "rows/s") for n in pools),
    )


def _nights(job: str) -> Iterator[Row]:
    for how, title in (("tidied", "tables are compacted"), ("untidied", "they are not")):
        key = f"nights-{job}-{how}"
        yield Row(f"{key}-1", f"Nightly {job}, first night, {title}", "s")
        yield from (Row(f"{key}-{night}", f"  night {night}", "s") for night in (10, 50, 100))
        for night in (1, 10, 50, 100):
            yield Row(f"{key}-{night}-cpu", f"  processor time of night {night}", "s")
        yield Row(f"{key}-parts", "  parts of all tables in the end", "files")


def _scale(key: str, title: str) -> tuple[Row, ...]:
    return (
        Row(f"scale-{key}", title, "s"),
        Row(f"scale-{key}-cpu", "  processor time of the process", "s"),
        Row(f"scale-{key}-requests", "  requests to the store", ""),
        Row(f"scale-{key}-memory", "  peak memory of the process", "MB"),
    )


def _sizes(key: str, title: str) -> Iterator[Row]:
    for objects in SIZES:
        yield from _scale(f"{key}-{objects}", f"{title}: {objects:,} objects")


def _label_files(form: str) -> Iterator[Row]:
    for rows in LABEL_ROWS:
        key = f"label-files-{form}-{rows}"
        yield Row(key, f"Write {rows:,} labels as {form}", "rows/s")
        yield Row(f"{key}-memory", "  peak memory of the process", "MB")


MAIN_JOB = (
    ("list", "20,000 pictures on an S3 server: list"),
    ("embed", "  embed"),
    ("train", "  train the best of several heads"),
    ("score", "  score through the skew gate"),
    ("skew", "  the gate by every payload"),
)

ROWS = (
    Row("decoder", "Bare decoder", "images/s"),
    Row("engine-float32", "Bare engine, float32", "images/s"),
    Row("engine-bfloat16", "Bare engine, bfloat16", "images/s"),
    Row("limit-float32", "Limit 1 / (1/decoder + 1/engine), float32", "images/s"),
    Row("limit-bfloat16", "Limit, bfloat16", "images/s"),
    _embedding("inner-float32", "embed_objects, float32", "float32"),
    _embedding("inner-bfloat16", "embed_objects, bfloat16", "bfloat16"),
    _embedding("job", "Beam job embed, float32, start-up apart", "float32"),
    Row("job-start", "  its start-up in a running process", "s"),
    Row("keras", "tf.data + Keras predict, batch 32", "images/s"),
    Row("run-inference", "Beam RunInference, TensorFlow, start-up apart", "images/s"),
    Row("run-inference-start", "  its start-up in a running process", "s"),
    Row("again-call", "Embedding unchanged images again: the call", "s"),
    Row("again", "  as the command linnaeus embed", "s"),
    Row("score-embeddings", "Beam job score, from stored embeddings", "rows/s"),
    Row("score-embeddings-start", "  its start-up in a running process", "s"),
    *_payload("score-images", "Beam job score, images embedded on the worker"),
    *_payload("score-images-sent", "Beam job score, images sent to the server"),
    *_payload("score-pixels-sent", "Beam job score, pixels sent to the server"),
    *_served("serving_default", 8),
    *_served("pixels", 8),
    *_served("embedding", 256),
    *_served("embed", 8),
    *_served("classify", 8),
    *_single_rows("single", "embedding", "each alone"),
    *_single_rows("batched", "embedding", "batched"),
    *_single_rows("single", "pixels", "each alone"),
    *_single_rows("batched", "pixels", "batched"),
    Row("switch-failures", "Ten new versions under load: failed requests", "requests"),
    Row("switch-growth", "  growth of the server's memory", "MB"),
    Row("switch-memory", "  its memory in the end", "MB"),
    Row("switch-p99", "  latency, p99", "ms"),
    Row("body-good", "A body of 15 MB over REST", "s"),
    Row("body-wrong", "  with one wrong value", "s"),
    Row("body-grpc-alone", "Requests over gRPC, eight clients, alone", "requests/s"),
    Row("body-grpc-beside", "  beside three such bodies at a time", "requests/s"),
    Row("body-grpc-beside-p99", "  latency, p99", "ms"),
    *_client("client-healthy", "embedded server, 256 embeddings a request"),
    *_client("client-refusing", "a server that refuses more than 6 calls"),
    Row("worker-memory", "Peak memory of a worker", "MB"),
    *_training("training", "Train the best of several heads: read, fit, test, export"),
    *_training("training-linear", "Train a linear head"),
    *_nights("embed"),
    *_nights("score"),
    *(Row(f"main-job-{step}", title, "s") for step, title in MAIN_JOB),
    Row("main-job-memory", "  peak memory of the process", "MB"),
    *_training("training-million", "Train a linear head on 1,000,000 embeddings"),
    *_sizes("listing", "List and freeze"),
    *_sizes("inventory-parquet", "Freeze an Inventory in Parquet"),
    *_sizes("inventory-csv", "Freeze an Inventory in CSV"),
    *_sizes("first", "Plan where nothing is known"),
    *_sizes("plan", "Plan where all but 1,000 are known"),
    *_sizes("nightly", "Inventory, plan and first shard, 1,000 new"),
    *_scale("commit-10000", "Commit a run of 10,000 shards"),
    *(row for form in LABEL_FORMATS for row in _label_files(form)),
)


@dataclass(frozen=True)
class Goal:
    """A bound on a value, or on its ratio to another."""

    title: str
    key: str
    bound: float
    unit: str
    over: str | None = None
    at_most: bool = False

    def value(self, rounds: Sequence[Readings]) -> float | None:
        """The value, or None where it was not measured."""
        return ratio(rounds, self.key, self.over) if self.over else middle(rounds, self.key)

    def met(self, value: float) -> bool:
        """Whether a value keeps the bound."""
        return value <= self.bound if self.at_most else value >= self.bound


GOALS = (
    *(
        Goal(
            f"scoring client against the best fixed number in flight, {server} server",
            f"client-{server}-adaptive",
            0.95,
            "x",
            f"client-{server}-best-fixed",
        )
        for server in ("healthy", "refusing")
    ),
    Goal("inner function of the limit", "inner-float32", 0.95, "x", "limit-float32"),
    Goal("inner function against Keras, float32", "inner-float32", 2.3, "x", "keras"),
    Goal("inner function against Keras, bfloat16", "inner-bfloat16", 4.0, "x", "keras"),
    Goal("Beam job of the inner function", "job", 0.9, "x", "inner-float32"),
    Goal("embedding again", "again", 3.0, "s", at_most=True),
    Goal(
        "scoring from embeddings against images embedded",
        "score-embeddings",
        100.0,
        "x",
        "score-images",
    ),
    Goal(
        "scoring from embeddings against images sent",
        "score-embeddings",
        100.0,
        "x",
        "score-images-sent",
    ),
    Goal("embeddings served over gRPC", "served-embedding-8", 20_000.0, "rows/s"),
    Goal(
        "image bytes served, of the session itself",
        "served-serving_default-8",
        0.85,
        "x",
        "direct-serving_default",
    ),
    Goal("pixels served, of the session itself", "served-pixels-8", 0.85, "x", "direct-pixels"),
    Goal("failed requests over ten new versions", "switch-failures", 0.0, "", at_most=True),
    Goal("  growth of memory", "switch-growth", 50.0, "MB", at_most=True),
    Goal(
        "gRPC beside three large REST bodies, of its rate alone",
        "body-grpc-beside",
        0.5,
        "x",
        "body-grpc-alone",
    ),
    Goal("memory of a worker", "worker-memory", 800.0, "MB", at_most=True),
    Goal("training the best of several heads", "training", 120.0, "s", at_most=True),
    Goal("  its memory", "training-memory", 1500.0, "MB", at_most=True),
    Goal("training a linear head", "training-linear", 60.0, "s", at_most=True),
    *(
        Goal(
            f"the hundredth nightly {job} against the first, {what}",
            f"nights-{job}-tidied-100{suffix}",
            1.3,
            "x",
            f"nights-{job}-tidied-1{suffix}",
            at_most=True,
        )
        for job in ("embed", "score")
        for suffix, what in (("", "time"), ("-cpu", "processor time"))
    ),
    Goal("memory of training on a million", "training-million-memory", 3000.0, "MB", at_most=True),
    Goal("planning for ten million objects", "scale-plan-10000000", 60.0, "s", at_most=True),
    Goal("  its memory", "scale-plan-10000000-memory", 4000.0, "MB", at_most=True),
    Goal("ten million, 1,000 new, first shard", "scale-nightly-10000000", 120.0, "s", at_most=True),
    Goal("  its memory", "scale-nightly-10000000-memory", 4000.0, "MB", at_most=True),
    *(
        goal
        for form in LABEL_FORMATS
        for goal in (
            Goal(
                f"ten million labels as {form} against a hundred thousand",
                f"label-files-{form}-10000000",
                1.0,
                "x",
                f"label-files-{form}-100000",
            ),
            Goal(
                "  their memory",
                f"label-files-{form}-10000000-memory",
                1000.0,
                "MB",
                at_most=True,
            ),
        )
    ),
)


def with_limits(readings: Readings) -> Readings:
    """A round, and 1 / (1/decoder + 1/engine) for each precision that was measured."""
    found = {
        name: 1 / sum(1 / readings[key] for key in parts)
        for name, parts in LIMITS.items()
        if all(key in readings for key in parts)
    }
    return readings | found


def middle(rounds: Sequence[Readings], key: str) -> float | None:
    """The median of a value; None where no round has it."""
    found = [readings[key] for readings in rounds if key in readings]
    return median(found) if found else None


def ratio(rounds: Sequence[Readings], key: str, over: str) -> float | None:
    """The median of the rounds' ratios: both parts of one are of the same minutes."""
    found = [r[key] / r[over] for r in rounds if key in r and over in r]
    return median(found) if found else None


def judged(rounds: Sequence[Readings]) -> Iterator[tuple[Goal, float]]:
    """Each goal that was measured, with its value."""
    for goal in GOALS:
        value = goal.value(rounds)
        if value is not None:
            yield goal, value


def as_json(rounds: Sequence[Readings], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that was measured, and what follows from it."""
    keys = sorted({key for readings in rounds for key in readings})
    return {
        **facts,
        "medians": {key: middle(rounds, key) for key in keys},
        "goals": [
            asdict(goal) | {"value": value, "met": goal.met(value)}
            for goal, value in judged(rounds)
        ],
        "rounds": list(rounds),
    }


def show(rounds: Sequence[Readings], console: Console) -> None:
    """Print the table and the goals."""
    console.print(_table(rounds))
    console.print(_goals_table(rounds))


def _table(rounds: Sequence[Readings]) -> Table:
    right = ("median", "", "range", "of limit", "x Keras", "x RunInference")
    table = Table("Measurement", *_columns(right))
    for row in ROWS:
        found = [readings[row.key] for readings in rounds if row.key in readings]
        if found:
            table.add_row(row.title, *_values(found, row.unit), *_ratios(row, rounds))
    return table


def _columns(titles: Sequence[str]) -> Iterator[Column]:
    """Numbers to the right, units to the left."""
    return (Column(title, justify="right" if title else "left") for title in titles)


def _values(found: Sequence[float], unit: str) -> tuple[str, str, str]:
    spread = f"{_number(min(found))} - {_number(max(found))}" if len(found) > 1 else ""
    return _number(median(found)), unit, spread


def _ratios(row: Row, rounds: Sequence[Readings]) -> Iterator[str]:
    share = ratio(rounds, row.key, row.limit) if row.limit else None
    yield "" if share is None else f"{share:.1%}"
    for baseline in ("keras", "run-inference"):
        times = ratio(rounds, row.key, baseline) if row.baselines else None
        yield "" if times is None else f"{times:.2f}"


def _goals_table(rounds: Sequence[Readings]) -> Table:
    table = Table("Goal", *_columns(("measured", "bound", "", "")))
    for goal, value in judged(rounds):
        bound = f"{'at most' if goal.at_most else 'at least'} {_number(goal.bound)}"
        verdict = "met" if goal.met(value) else "[bold]not met[/bold]"
        table.add_row(goal.title, _number(value), bound, goal.unit, verdict)
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

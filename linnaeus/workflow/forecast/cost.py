"""What a workflow run costs, at the prices that the workflow file names."""

from dataclasses import dataclass

from linnaeus.workflow.file.config import Prices
from linnaeus.workflow.workflow_run import StepName, WorkflowRun

READING: tuple[StepName, ...] = ("embed", "score")
"""The steps that read images."""


@dataclass(frozen=True)
class Use:
    """What a workflow run used, or will."""

    seconds: float
    """Of a machine."""
    size_bytes: float
    """Of images that were read."""
    reads: float
    """Requests by which they were."""


@dataclass(frozen=True)
class Cost:
    """About what a workflow run cost, and of what."""

    currency: str
    total: float
    machine: float
    """Of the hours that its steps took."""
    transfer: float
    """Of the bytes that were read."""
    reads: float
    """Of the requests by which they were."""


def used_by(run: WorkflowRun) -> Use:
    """What the record says: a request an image, where anything was read.

    Hours are those of the steps as their record has them: of an array of slices, only what the
    command that gathers them took.
    """
    steps = [step for name in READING if (step := run.step(name))]
    return Use(
        seconds=sum(step.seconds for step in run.steps),
        size_bytes=sum(step.facts.get("bytes_read") or 0 for step in steps),
        reads=sum(step.facts.get("planned") or 0 for step in steps if step.facts.get("bytes_read")),
    )


def cost_of(prices: Prices, use: Use) -> Cost:
    """The cost of that use."""
    machine = use.seconds / 3600 * prices.per_hour
    transfer = use.size_bytes / 1e9 * prices.per_gigabyte_read
    reads = use.reads / 1000 * prices.per_thousand_reads
    return Cost(prices.currency, machine + transfer + reads, machine, transfer, reads)


def money_text(amount: float, currency: str) -> str:
    """`about 0.02 USD`, or `under 0.01 USD`."""
    return f"under 0.01 {currency}" if amount < 0.01 else f"about {amount:,.2f} {currency}"

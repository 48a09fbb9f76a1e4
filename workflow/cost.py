"""What a night cost, at the prices that the workflow file names."""

from dataclasses import dataclass

from workflow.config import Prices
from workflow.night import Night, StepName

_READING: tuple[StepName, ...] = ("embed", "score")


@dataclass(frozen=True)
class Cost:
    """About what a night cost, and of what."""

    currency: str
    total: float
    machine: float
    """Of the hours that its steps took."""
    transfer: float
    """Of the bytes that were read."""
    reads: float
    """Of the requests by which they were."""


def cost_of(prices: Prices, night: Night) -> Cost | None:
    """The cost of what the record says; None where no price is named.

    Hours are those of the steps as their record has them: of an array of slices, only what the
    command that gathers them took.
    """
    steps = [step for name in _READING if (step := night.step(name))]
    hours = sum(step.seconds for step in night.steps) / 3600
    gigabytes = sum(step.facts.get("bytes_read") or 0 for step in steps) / 1e9
    reads = sum(step.facts.get("planned") or 0 for step in steps if step.facts.get("bytes_read"))
    machine = hours * prices.per_hour
    transfer = gigabytes * prices.per_gigabyte_read
    requests = reads / 1000 * prices.per_thousand_reads
    if not (prices.per_hour or prices.per_gigabyte_read or prices.per_thousand_reads):
        return None
    return Cost(prices.currency, machine + transfer + requests, machine, transfer, requests)

"""A workflow run's numbers for Prometheus: a file that the node exporter reads, or a push.

Samples have no times of their own, which the node exporter would refuse: there are gauges of times
instead.
"""

from urllib.error import HTTPError

from prometheus_client import CollectorRegistry, Gauge, push_to_gateway, write_to_textfile

from linnaeus.workflow.metrics.measurements import measurements
from linnaeus.workflow.summary.summary import Summary
from linnaeus.workflow.time_limits import unreached

JOB = "linnaeus"
TIMEOUT_SECONDS = 10.0


def registry(summary: Summary) -> CollectorRegistry:
    """The numbers as gauges, each with the label `workflow`."""
    gauges = CollectorRegistry(auto_describe=False)
    for one in measurements(summary):
        names = ["workflow", *one.labels("")]
        gauge = Gauge(one.prometheus_name, one.help, names, registry=gauges)
        for value, number in one.values.items():
            gauge.labels(workflow=summary.workflow, **one.labels(value)).set(number)
    return gauges


def write_textfile(path: str, summary: Summary) -> str:
    """Put the numbers into a file, in place of the last run's, whole or not at all."""
    try:
        write_to_textfile(path, registry(summary))
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def push(gateway: str, summary: Summary) -> str:
    """Put the numbers in place of what a Pushgateway has of this workflow."""
    grouping = {"workflow": summary.workflow}
    try:
        push_to_gateway(
            gateway, JOB, registry(summary), grouping_key=grouping, timeout=TIMEOUT_SECONDS
        )
    except HTTPError as error:
        return f"it answers {error.code}"
    except OSError as error:
        return unreached(error, TIMEOUT_SECONDS)
    return ""

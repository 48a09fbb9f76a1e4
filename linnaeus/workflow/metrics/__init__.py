"""Where a run's numbers go: a Prometheus textfile, a Pushgateway, an OpenTelemetry collector.

None of them can fail a workflow run. May import `workflow.file` and `workflow.summary`.
"""

from urllib.parse import urlsplit

from linnaeus.workflow.file.config import Metrics
from linnaeus.workflow.summary.summary import Summary
from linnaeus.workflow.time_limits import Send, TookTooLong, sent

__all__ = ["export"]


def export(metrics: Metrics, summary: Summary) -> list[str]:
    """Export a workflow run's numbers.

    Returns:
        A line for each place: that it has them, or why not.
    """
    places: list[tuple[str, str | None, Send]] = [
        ("textfile", metrics.textfile, _write_textfile),
        ("Pushgateway", metrics.pushgateway, _push),
        ("OpenTelemetry", metrics.otlp, _send),
    ]
    return [_line(name, address, send, summary) for name, address, send in places if address]


def _write_textfile(path: str, summary: Summary) -> str:
    from linnaeus.workflow.metrics import prometheus

    return prometheus.write_textfile(path, summary)


def _push(gateway: str, summary: Summary) -> str:
    from linnaeus.workflow.metrics import prometheus

    return prometheus.push(gateway, summary)


def _send(collector: str, summary: Summary) -> str:
    from linnaeus.workflow.metrics import otlp

    return otlp.send(collector, summary)


def _line(name: str, address: str, send: Send, summary: Summary) -> str:
    """What became of it: senders say nothing, or why the numbers were not taken. Of an error that
    nobody foresaw the type is named, as its text has the address.
    """
    try:
        reason = sent(send, address, summary)
    except TookTooLong as late:
        reason = str(late)
    except Exception as error:
        reason = type(error).__name__
    where = _shown(address)
    return f"metrics, {name} {where}: {f'not exported: {reason}' if reason else 'exported'}"


def _shown(address: str) -> str:
    """A path, or of a URL the host, as whatever else it has may be secret."""
    if "://" not in address:
        return address
    try:
        return urlsplit(address).hostname or "?"
    except ValueError:
        return "?"

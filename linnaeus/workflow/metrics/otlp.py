"""A workflow run's numbers for an OpenTelemetry collector, by OTLP over HTTP.

Headers, such as a key, come from the environment: `OTEL_EXPORTER_OTLP_HEADERS`.
"""

from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource
from requests import Session

from linnaeus.workflow.metrics.measurements import (
    BYTES,
    NUMBER,
    RATIO,
    SECONDS,
    TIMESTAMP,
    measurements,
)
from linnaeus.workflow.summary.summary import Summary
from linnaeus.workflow.time_limits import unlogged

TIMEOUT_SECONDS = 10.0
"""For all attempts."""
PATH = "/v1/metrics"
_UCUM = {SECONDS: "s", TIMESTAMP: "s", BYTES: "By", RATIO: "1", NUMBER: "1"}


def send(collector: str, summary: Summary) -> str:
    """Send the numbers to a collector: its address, or the whole URL of its metrics."""
    data = _data(summary)
    answers: list[int] = []
    session = Session()
    session.hooks["response"].append(lambda response, **_: answers.append(response.status_code))
    exporter = OTLPMetricExporter(endpoint(collector), timeout=TIMEOUT_SECONDS, session=session)
    try:
        with unlogged("opentelemetry"):
            result = exporter.export(data, timeout_millis=TIMEOUT_SECONDS * 1000)
    finally:
        exporter.shutdown()
    if answers and not 200 <= answers[-1] < 300:  # the exporter takes a redirect for success
        return f"it answers {answers[-1]}"
    return "" if result is MetricExportResult.SUCCESS else "the collector did not take them"


def endpoint(collector: str) -> str:
    """Where a collector takes metrics, if its URL does not say so."""
    return collector if urlsplit(collector).path.strip("/") else collector.rstrip("/") + PATH


def _data(summary: Summary) -> MetricsData:
    reader = InMemoryMetricReader()
    resource = Resource({"service.name": "linnaeus", "service.instance.id": summary.workflow})
    provider = MeterProvider([reader], resource, shutdown_on_exit=False)
    meter = provider.get_meter("linnaeus.workflow_run")
    for one in measurements(summary):
        gauge = meter.create_gauge(one.otel_name, _UCUM[one.unit], one.help)
        for value, number in one.values.items():
            gauge.set(number, {"workflow": summary.workflow, **one.labels(value)})
    data = reader.get_metrics_data()
    provider.shutdown()
    assert data is not None, "a workflow run has numbers"
    return data

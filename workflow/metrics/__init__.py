"""Where a night's numbers go: a Prometheus textfile, a Pushgateway, an OpenTelemetry collector."""

from workflow.metrics.exporting import export

__all__ = ["export"]

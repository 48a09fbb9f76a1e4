"""Whether and where metrics are read, from a MonitoringConfig in text form."""

from serving.config import text_format
from serving.protocol import messages

_MONITORING_CONFIG = messages.declare(
    "tensorflow.serving",
    {
        "PrometheusConfig": {"enable": (1, "bool"), "path": (2, "string")},
        "MonitoringConfig": {"prometheus_config": (1, "PrometheusConfig")},
    },
)["MonitoringConfig"]

DEFAULT_PATH = "/monitoring/prometheus/metrics"


def read_monitoring_path(path: str) -> str:
    """Where a file (`config/monitoring_config.proto` in text form) wants metrics to be read.

    Returns:
        A path of the REST port; empty for nowhere.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    message = text_format.read(path, _MONITORING_CONFIG, "tensorflow.serving.MonitoringConfig")
    prometheus = message.prometheus_config
    return (prometheus.path or DEFAULT_PATH) if prometheus.enable else ""

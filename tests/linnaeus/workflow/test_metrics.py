"""A run's numbers, as the systems that take them read them: parsed by their own formats."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from prometheus_client.parser import text_string_to_metric_families

from linnaeus.workflow import time_limits
from linnaeus.workflow.drift.measures import EmbeddingDrift, LabelDrift
from linnaeus.workflow.drift.measuring import Drift
from linnaeus.workflow.file.config import Metrics
from linnaeus.workflow.forecast.cost import Cost
from linnaeus.workflow.metrics import export, otlp, prometheus
from linnaeus.workflow.metrics.measurements import measurements
from linnaeus.workflow.summary.new_failures import FailureGroup
from linnaeus.workflow.summary.summary import ImageCounts, LabelChurn, ModelChange, StepLine
from tests.linnaeus.workflow.receivers import DRIP, HANG, receiver
from tests.linnaeus.workflow.workflow_runs import summary_of

RULES = Path(__file__).parents[3] / "infra/prometheus/linnaeus.rules.yaml"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(prometheus, "TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(otlp, "TIMEOUT_SECONDS", 0.5)


def full():
    return summary_of(
        steps=(StepLine("embed", "done", "", 12.5), StepLine("score", "done", "", 3.0)),
        churn=LabelChurn(100, 12, 0.12),
        drift=Drift(
            "labels:4",
            EmbeddingDrift(500, 1000, 0.3, 0.05, 0.29, "some"),
            LabelDrift(500, 1000, 0.4, 0.01, 0.39, 0.2, "large"),
            0.02,
        ),
        new_failures=(FailureGroup("CORRUPT", 2, ()), FailureGroup("EMPTY", 1, ())),
        cost=Cost("EUR", 1.25, 1.0, 0.25, 0.0),
        model=ModelChange("labels", 3, 4, 0.91),
    )


EXPECTED = {
    ("status", "done"): 1,
    ("status", "failed"): 0,
    ("finished_timestamp_seconds", ""): 1772331000,
    ("last_success_timestamp_seconds", ""): 1772331000,
    ("duration_seconds", ""): 600,
    ("step_duration_seconds", "embed"): 12.5,
    ("images", "embedded"): 7,
    ("images", "listed"): 105,
    ("new_failures", "CORRUPT"): 2,
    ("read_bytes", ""): 7000,
    ("churn_ratio", ""): 0.12,
    ("embedding_drift_ratio", ""): 0.29,
    ("label_drift", ""): 0.39,
    ("unknown_ratio", ""): 0.02,
    ("model_version", "labels"): 4,
    ("model_accuracy_ratio", "labels"): 0.91,
    ("cost", "EUR"): 1.25,
}


def samples(exposition):
    """{(name without its beginning, the value of its own label): value}"""
    found = {}
    for family in text_string_to_metric_families(exposition):
        assert family.type == "gauge" and family.documentation
        for sample in family.samples:
            assert sample.timestamp is None  # the node exporter refuses them
            own = {name: value for name, value in sample.labels.items() if name != "workflow"}
            assert sample.labels["workflow"] == "nightly" and len(own) <= 1
            name = sample.name.removeprefix("linnaeus_workflow_run_")
            found[name, next(iter(own.values()), "")] = sample.value
    return found


def test_a_textfile_has_all_numbers_and_replaces_the_last(tmp_path):
    path = tmp_path / "linnaeus.prom"
    [line] = export(Metrics(textfile=str(path)), full())
    assert line == f"metrics, textfile {path}: exported"
    assert samples(path.read_text()).items() >= EXPECTED.items()
    export(Metrics(textfile=str(path)), summary_of(status="failed", exit=1))
    second = samples(path.read_text())
    assert (second["status", "failed"], second["status", "done"]) == (1, 0)
    assert ("new_failures", "CORRUPT") not in second and ("churn_ratio", "") not in second
    assert second["last_success_timestamp_seconds", ""] == 1772331000
    assert [one.name for one in tmp_path.iterdir()] == ["linnaeus.prom"]


def test_a_textfile_that_cannot_be_is_a_line(tmp_path):
    gone = tmp_path / "gone" / "x.prom"
    [line] = export(Metrics(textfile=str(gone)), full())
    assert line == f"metrics, textfile {gone}: not exported: No such file or directory"
    assert list(tmp_path.iterdir()) == []


def test_a_workflow_that_never_ended_well_has_no_last_success():
    names = {one.name for one in measurements(summary_of(last_success_at=None))}
    assert "last_success" not in names and "finished" in names


def test_a_pushgateway_gets_the_workflows_group():
    with receiver(202) as there:
        [line] = export(Metrics(pushgateway=there.url), full())
    assert line == "metrics, Pushgateway 127.0.0.1: exported"
    [(method, path, headers, body)] = there.came
    assert (method, path) == ("PUT", "/metrics/job/linnaeus/workflow/nightly")
    assert headers["content-type"].startswith("text/plain")
    assert samples(body.decode()).items() >= EXPECTED.items()


def test_a_collector_gets_the_same_numbers_as_protobuf():
    with receiver(200) as there:
        [line] = export(Metrics(otlp=there.url), full())
    assert line == "metrics, OpenTelemetry 127.0.0.1: exported"
    [(method, path, headers, body)] = there.came
    assert (method, path) == ("POST", "/v1/metrics")
    assert headers["content-type"] == "application/x-protobuf"
    [resource] = ExportMetricsServiceRequest.FromString(body).resource_metrics
    attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert attributes["service.name"] == "linnaeus"
    [scope] = resource.scope_metrics
    found = {}
    for metric in scope.metrics:
        assert metric.unit in ("1", "s", "By") and metric.description
        for point in metric.gauge.data_points:
            labels = {one.key: one.value.string_value for one in point.attributes}
            assert labels.pop("workflow") == "nightly"
            found[metric.name, next(iter(labels.values()), "")] = point.as_double
    units = re.compile("_(timestamp_seconds|seconds|bytes|ratio)$")
    expected = {
        (f"linnaeus.workflow_run.{units.sub('', name)}", label): value
        for (name, label), value in EXPECTED.items()
    }
    assert found.items() >= expected.items()


def test_a_collectors_whole_url_stays():
    assert otlp.endpoint("http://host:4318/") == "http://host:4318/v1/metrics"
    assert otlp.endpoint("https://host/otlp/v1/metrics") == "https://host/otlp/v1/metrics"


@pytest.mark.parametrize("key", ["pushgateway", "otlp"])
@pytest.mark.parametrize("answer", [400, HANG, None])
def test_a_place_that_is_down_is_a_line(key, answer, capfd):
    with receiver(answer or 200) as there:
        url = there.url if answer else "http://127.0.0.1:1"
        [line] = export(Metrics(**{key: f"{url}/secret"}), full())
    assert " 127.0.0.1: not exported: " in line and "secret" not in line
    assert "secret" not in "".join(capfd.readouterr())


def test_an_answer_that_never_ends_holds_no_run_up(monkeypatch):
    monkeypatch.setattr(time_limits, "LONGEST_SECONDS", 0.4)
    with receiver(DRIP) as there:
        [line] = export(Metrics(pushgateway=there.url), full())
    assert line == "metrics, Pushgateway 127.0.0.1: not exported: not done within 0.4 s"


@pytest.mark.parametrize("status", [302, 404])
def test_a_collector_that_does_not_take_them_is_said_with_its_answer(status):
    with receiver(status) as there:
        [line] = export(Metrics(otlp=there.url), full())
    assert line == f"metrics, OpenTelemetry 127.0.0.1: not exported: it answers {status}"


def test_nothing_is_exported_to_nowhere():
    assert export(Metrics(), full()) == []


def test_the_alerts_ask_for_what_is_exported():
    everything = replace(full(), counts=ImageCounts())
    exported = {one.prometheus_name: one for one in measurements(everything)}
    groups = yaml.safe_load(RULES.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["alert"] for rule in rules} >= {
        "LinnaeusRunMissed",
        "LinnaeusRunFailed",
        "LinnaeusChurn",
        "LinnaeusEmbeddingDrift",
        "LinnaeusLabelDrift",
    }
    for rule in rules:
        assert rule["annotations"]["summary"] and rule["labels"]["severity"]
        asked = re.findall(r'(linnaeus_\w+)(?:\{(\w+)="(\w+)"\})?', rule["expr"])
        assert asked
        for name, label, value in asked:
            assert name in exported
            if label:
                assert exported[name].label == label and value in exported[name].values

"""What is counted, and how Prometheus is told."""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.config.monitoring_config import read_monitoring_path
from serving.monitoring import Counter, Histogram, Metrics
from serving.protocol import tensors, wire

SECONDS = 20
VALUES = st.lists(st.floats(0, 100, allow_nan=False))


def test_a_counter_is_a_line_for_each_of_its_labels():
    counter = Counter("/a/b_c", "model_name", "status")
    counter.add(1, "m", "OK")
    counter.add(2, "m", "OK")
    counter.add(1, "m", "NOT_FOUND")
    assert list(counter.lines()) == [
        ':a:b_c{model_name="m",status="NOT_FOUND"} 1',
        ':a:b_c{model_name="m",status="OK"} 3',
    ]


@pytest.mark.parametrize(
    ("label", "written"), [('a"b', 'a\\"b'), ("a\\b", "a\\\\b"), ("a\nb 1", "a\\nb 1")]
)
def test_labels_that_a_client_chooses_cannot_break_the_text(label: str, written: str):
    counter = Counter("/a", "x")
    counter.add(1, label)
    assert list(counter.lines()) == [f':a{{x="{written}"}} 1']


@settings(deadline=None)
@given(VALUES, st.lists(st.floats(0, 100, allow_nan=False), min_size=1, unique=True).map(sorted))
def test_a_histogram_counts_what_lies_below_each_limit(values: list[float], limits: list[float]):
    histogram = Histogram("/h", limits, "x")
    for value in values:
        histogram.add(value, "l")
    lines = list(histogram.lines())
    if not values:
        assert not lines
        return
    counts = [int(line.rpartition(" ")[2]) for line in lines[:-2]]
    assert counts == [sum(value < limit for value in values) for limit in limits] + [len(values)]
    assert lines[-1] == f':h_count{{x="l"}} {len(values)}'
    assert float(lines[-2].rpartition(" ")[2]) == pytest.approx(sum(values), rel=1e-5)


def test_latencies_fall_into_tensorflow_servings_buckets():
    metrics = Metrics()
    metrics.record_request("m", grpc.StatusCode.OK, "Predict", "GRPC", 0.00002)
    metrics.record_request("m", grpc.StatusCode.NOT_FOUND, "Predict", "GRPC", 1.0)
    text = metrics.text()
    name = ":tensorflow:serving:request_latency"
    labels = 'model_name="m",API="Predict",entrypoint="GRPC"'
    limits = re.findall(rf'^{name}_bucket{{{labels},le="([^"]+)"}}', text, re.MULTILINE)
    assert len(limits) == 34
    assert limits[:4] == ["10", "18", "32.4", "58.32"]
    assert limits[-1] == "+Inf"
    assert f'{name}_bucket{{{labels},le="18"}} 0\n' in text
    assert f'{name}_bucket{{{labels},le="32.4"}} 1\n' in text
    assert f"{name}_sum{{{labels}}} 20\n{name}_count{{{labels}}} 1\n" in text
    assert ':tensorflow:serving:request_count{model_name="m",status="NOT_FOUND"} 1\n' in text


def test_every_metric_is_announced_with_its_type_even_before_it_counts():
    lines = Metrics().text().splitlines()
    assert "# TYPE :tensorflow:serving:request_count counter" in lines
    assert "# TYPE :tensorflow:serving:request_latency histogram" in lines
    assert all(line.startswith("# TYPE ") for line in lines)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ""),
        ("prometheus_config {}", ""),
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config { enable: true path: "/metrics" }', "/metrics"),
        ('prometheus_config { enable: false path: "/metrics" }', ""),
    ],
)
def test_a_monitoring_config_says_whether_and_where(tmp_path: Path, text: str, path: str):
    (tmp_path / "monitoring.config").write_text(text)
    assert read_monitoring_path(str(tmp_path / "monitoring.config")) == path


@pytest.fixture(scope="module")
def monitored(half_plus: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from serving.server import EmbeddedServer, ServerOptions

    base = tmp_path_factory.mktemp("m")
    (base / "1").symlink_to(half_plus(2))
    options = ServerOptions(monitoring_path="/metrics")
    with EmbeddedServer({"m": str(base)}, rest_api_port=0, options=options) as server:
        yield server


def fetched(server: Any, path: str, body: bytes | None = None) -> str:
    url = f"http://127.0.0.1:{server.rest_api_port}{path}"
    with urllib.request.urlopen(url, body, timeout=SECONDS) as response:
        assert response.status == 200
        return response.read().decode()


def counted(server: Any) -> dict[str, float]:
    lines = [line for line in fetched(server, "/metrics").splitlines() if line[0] != "#"]
    return {key: float(value) for key, _, value in (line.rpartition(" ") for line in lines)}


def rise(before: dict[str, float], after: dict[str, float], key: str) -> float:
    return after.get(key, 0.0) - before.get(key, 0.0)


@pytest.mark.slow
def test_requests_are_counted_over_grpc_by_their_codes(monitored: Any):
    before = counted(monitored)
    with grpc.insecure_channel(monitored.address) as channel:
        call = channel.unary_unary(
            wire.PREDICT,
            request_serializer=wire.PredictRequest.SerializeToString,
            response_deserializer=wire.PredictResponse.FromString,
        )
        for name in ("m", "m", "x"):
            request = wire.PredictRequest(model_spec={"name": name})
            tensors.fill_content(request.inputs["x"], np.zeros((1, 1), "float32"))
            try:
                call(request, timeout=SECONDS)
            except grpc.RpcError:
                assert name == "x"
    after = counted(monitored)
    requests = ":tensorflow:serving:request_count"
    assert rise(before, after, f'{requests}{{model_name="m",status="OK"}}') == 2
    assert rise(before, after, f'{requests}{{model_name="x",status="NOT_FOUND"}}') == 1
    latency = ':tensorflow:serving:request_latency_count{model_name="m",API="Predict"'
    assert rise(before, after, latency + ',entrypoint="GRPC"}') == 2
    runtime = (
        ':tensorflow:serving:runtime_latency_count{model_name="m",API="Predict",runtime="TF1"}'
    )
    assert rise(before, after, runtime) == 2
    assert rise(before, after, runtime.replace("_count", "_sum")) > 0


@pytest.mark.slow
def test_requests_are_counted_over_rest(monitored: Any):
    before = counted(monitored)
    fetched(monitored, "/v1/models/m:predict", b'{"instances": [[1.0]]}')
    with pytest.raises(urllib.error.HTTPError):
        fetched(monitored, "/v1/models/m:predict", b"{}")
    fetched(monitored, "/v1/models/m")
    after = counted(monitored)
    requests = ':tensorflow:serving:request_count{model_name="m"'
    assert rise(before, after, requests + ',status="OK"}') == 1
    assert rise(before, after, requests + ',status="INVALID_ARGUMENT"}') == 1
    latency = ':tensorflow:serving:request_latency_count{model_name="m",API="predict"'
    assert rise(before, after, latency + ',entrypoint="REST"}') == 1
    assert rise(before, after, ":tensorflow:core:graph_runs{}") == 1
    assert rise(before, after, ":tensorflow:core:graph_run_time_usecs{}") > 0


@pytest.mark.slow
def test_metrics_are_told_only_if_asked_for(half_plus_two: Any):
    for path in ("/metrics", "/monitoring/prometheus/metrics"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetched(half_plus_two, path)

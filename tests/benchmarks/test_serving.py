"""Clients, server process and requests of the server's measurements, on a model that is tiny."""

import pytest

from benchmarks import report
from benchmarks.catalogue import MEASUREMENTS, SIGNATURES
from benchmarks.serving_load import PERCENTILES, Clients, Load
from benchmarks.serving_rates import BATCHED, CLIENTS
from serving.protocol import tensors, wire

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def doubling(tmp_path_factory):
    import tensorflow as tf

    class Doubling(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
        def double(self, x):
            return {"y": 2 * x}

    module = Doubling()
    base = tmp_path_factory.mktemp("doubling")
    tf.saved_model.save(module, str(base / "1"), {"serving_default": module.double})
    return base


@pytest.fixture
def server(doubling):
    from serving.server import EmbeddedServer

    with EmbeddedServer({"m": str(doubling)}) as server:
        yield server


def request(model="m"):
    import numpy as np

    message = wire.PredictRequest()
    message.model_spec.name = model
    tensors.fill_content(message.inputs["x"], np.zeros((2, 1), "float32"))
    return message.SerializeToString()


def test_clients_count_what_was_answered_and_how_long_it_took(server):
    with Clients(server.address, request(), 3) as clients:
        load = clients.run_for(0.5)
    assert load.failures == []
    assert load.requests_per_second == pytest.approx(len(load.latencies) / load.seconds)
    assert len(load.latencies) > 10
    assert sum(load.latencies) <= 3 * load.seconds
    p50, p90, p99 = (load.percentile_msec(percent) for percent in PERCENTILES)
    assert 0 < p50 <= p90 <= p99 < 1e3 * load.seconds


def test_clients_keep_what_failed(server):
    with Clients(server.address, request("another"), 1) as clients:
        load = clients.run_for(0.2)
    assert load.latencies == []
    assert "Servable not found" in load.failures[0]


def test_percentiles_are_in_milliseconds():
    load = Load(1.0, [number / 1000 for number in range(101)])
    assert [load.percentile_msec(percent) for percent in (50, 99)] == pytest.approx([50, 99])


def test_every_reading_has_a_row_of_the_table():
    keys = {f"direct-{signature}" for signature in SIGNATURES}
    keys |= {f"served-{signature}-{n}" for signature in SIGNATURES for n in CLIENTS}
    keys |= {f"{kind}-{s}-{n}" for kind in ("single", "batched") for s in BATCHED for n in CLIENTS}
    assert keys <= {row.key for row in report.ROWS}
    assert {"served", "single", "batched", "switches"} <= MEASUREMENTS.keys()

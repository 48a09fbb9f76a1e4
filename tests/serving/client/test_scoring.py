"""The client against the embedded server, and against stand-ins that misbehave."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from linnaeus.errors import FailureCode, ImageError, ServingError
from linnaeus.records import Prediction, prediction_outputs
from serving.client import ScoringClient
from serving.client import scoring as client_module
from serving.client.read_ahead import ANSWERED_AHEAD, READY
from serving.protocol import tensors, wire

pytestmark = pytest.mark.slow

BYTES = "serving_default"


@pytest.fixture(scope="module")
def server(labeller: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Model `m`, version 7, with the signatures of linnaeus' models."""
    from serving.server import EmbeddedServer

    base = tmp_path_factory.mktemp("m")
    (base / "7").symlink_to(labeller)
    with EmbeddedServer({"m": str(base)}) as server:
        yield server


@pytest.fixture
def client(server: Any) -> Iterator[ScoringClient]:
    with ScoringClient(server.address, batch_rows=16) as client:
        yield client


def sign(number: float) -> str:
    return "großes Ja" if number > 0 else "no"


def numbers(count: int) -> list[tuple[str, bytes]]:
    return [(f"k{i}", str(float((-1) ** i)).encode()) for i in range(count)]


def test_the_highest_available_version_is_resolved(client: ScoringClient):
    assert client.resolve_version("m") == 7
    assert client.resolve_version("m", 7) == 7


@pytest.mark.parametrize(
    ("signature", "make"),
    [
        (BYTES, lambda number: str(number).encode()),
        ("embedding", lambda number: np.full(4, number, "float32")),
        ("pixels", lambda number: np.full((2, 2, 3), 127 + number, "uint8")),
    ],
)
def test_every_payload_is_labelled(client: ScoringClient, signature: str, make: Any):
    rows = [(i, make((-1) ** i)) for i in range(100)]
    scored = list(client.score("m", 7, signature, rows))
    assert [key for key, _ in scored] == list(range(100))
    for key, prediction in scored:
        assert isinstance(prediction, Prediction)
        assert prediction.label == sign((-1) ** key)
        assert prediction.labels == [prediction.label]
        assert prediction.top_labels[0] == prediction.label
        assert sorted(prediction.top_labels) == ["großes Ja", "maybe", "no"]
        assert prediction.top_scores == sorted(prediction.top_scores, reverse=True)
        assert prediction.confidence == prediction.top_scores[0]
        assert sum(prediction.top_scores) == pytest.approx(1)


def test_bad_images_stand_alone_and_cost_no_other_its_label(client: ScoringClient):
    rows = numbers(200)
    bad = {"k0", "k17", "k18", "k199"}
    rows = [(key, b"no number" if key in bad else value) for key, value in rows]
    scored = dict(client.score("m", 7, BYTES, rows))
    assert list(scored) == [key for key, _ in rows]
    errors = {key: error for key, error in scored.items() if isinstance(error, ImageError)}
    assert set(errors) == bad
    for error in errors.values():
        assert error.code is FailureCode.CORRUPT
        assert "no number" in str(error)
        assert "\n" not in str(error)
    assert all(isinstance(scored[key], Prediction) for key in set(scored) - bad)


def test_only_bad_images_are_only_errors(client: ScoringClient):
    outcomes = [outcome for _, outcome in client.score("m", 7, BYTES, [(1, b"x"), (2, b"y")])]
    assert all(isinstance(outcome, ImageError) for outcome in outcomes)


def test_no_rows_give_no_answers(client: ScoringClient):
    assert list(client.score("m", 7, BYTES, [])) == []


def test_reading_ahead_is_bounded(server: Any):
    read = 0

    def rows() -> Iterator[tuple[int, bytes]]:
        nonlocal read
        while True:
            read += 1
            yield read, b"1.0"

    with ScoringClient(server.address, in_flight=3, batch_rows=4) as client:
        scored = client.score("m", 7, BYTES, rows())
        assert len(list(islice(scored, 40))) == 40
        assert read <= 40 + 4 * ANSWERED_AHEAD * (3 + READY) + 1
        scored.close()  # type: ignore[attr-defined]


def test_embeddings_of_another_length_are_one_error(client: ScoringClient):
    rows = [(i, np.ones(5, "float32")) for i in range(100)]
    with pytest.raises(ServingError, match=r"embedding rows of float32 \[5\].*own backbone"):
        list(client.score("m", 7, "embedding", rows))


def test_a_model_that_is_not_there_is_one_clear_line(client: ScoringClient, server: Any):
    with pytest.raises(ServingError, match=r"does not serve model other .*linnaeus serve") as e:
        client.resolve_version("other")
    assert server.address in str(e.value)
    with pytest.raises(ServingError, match="does not serve version 6 of model m"):
        client.resolve_version("m", 6)
    with pytest.raises(ServingError, match="does not serve version 6 of model m"):
        list(client.score("m", 6, BYTES, numbers(1)))


def test_a_model_without_the_signature_or_the_outputs_is_one_clear_line(half_plus_two: Any):
    with ScoringClient(half_plus_two.address) as client:
        for signature, value in (("embedding", np.ones(1, "float32")), (BYTES, b"1")):
            with pytest.raises(ServingError, match=f"cannot answer {signature}.*linnaeus train"):
                list(client.score("m", 123, signature, [(1, value)]))


def test_a_server_that_is_not_there_is_one_clear_line_in_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(client_module, "CONNECT_SECONDS", 1.0)
    address = f"127.0.0.1:{free_port()}"
    with ScoringClient(address) as client:
        started = time.monotonic()
        with pytest.raises(ServingError, match=f"no model server answers at {address}.*linnaeus"):
            client.resolve_version("m")
        with pytest.raises(ServingError, match="no model server answers"):
            list(client.score("m", 7, BYTES, numbers(100)))
        assert time.monotonic() - started < 10


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_server_that_restarts_on_its_port_loses_no_row(
    labeller: Path, tmp_path: Path, serve: Any
):
    (tmp_path / "7").symlink_to(labeller)
    first = serve({"m": tmp_path})
    rows = numbers(400)
    with ScoringClient(first.address, in_flight=2, batch_rows=4) as client:
        version = client.resolve_version("m")
        scored = client.score("m", version, BYTES, rows)
        outcomes = list(islice(scored, 40))
        first.stop(grace_seconds=0)
        restarting = threading.Timer(1.0, serve, [{"m": tmp_path}, first.port])
        restarting.start()
        outcomes += scored
        restarting.join()
    assert [key for key, _ in outcomes] == [key for key, _ in rows]
    assert all(isinstance(outcome, Prediction) for _, outcome in outcomes)


def answer(request: Any, version: int, **others: Any) -> Any:
    """What a model with two labels would say; `others` are its outputs that differ, for a row."""
    rows = request.inputs["image_bytes"].tensor_shape.dim[0].size
    outputs = {
        "label": np.array([b"cat"] * rows, object),
        "confidence": np.full(rows, 0.75, "float32"),
        "top_labels": np.array([[b"cat", b"dog"]] * rows, object),
        "top_scores": np.array([[0.75, 0.25]] * rows, "float32"),
    }
    outputs |= {name: np.array([value] * rows, object) for name, value in others.items()}
    response = wire.PredictResponse()
    response.model_spec.version.value = version
    for name, array in outputs.items():
        tensors.fill_content(response.outputs[name], array)
    return response


@contextmanager
def stand_in(predict: Callable[[Any, grpc.ServicerContext], Any], **limits: int) -> Iterator[str]:
    """A server whose Predict is a function of the test."""
    handler = grpc.unary_unary_rpc_method_handler(
        predict, wire.PredictRequest.FromString, wire.PredictResponse.SerializeToString
    )
    options = [(f"grpc.{name}", value) for name, value in limits.items()]
    server = grpc.server(ThreadPoolExecutor(8), options=options)
    service = grpc.method_handlers_generic_handler(
        "tensorflow.serving.PredictionService", {"Predict": handler}
    )
    server.add_generic_rpc_handlers([service])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def scored_by(address: str, rows: list[tuple[str, bytes]], **options: Any) -> dict[str, Any]:
    with ScoringClient(address, **options) as client:
        return dict(client.score("m", 7, BYTES, rows))


def test_an_overloaded_server_is_asked_again():
    calls: list[float] = []

    def predict(request: Any, context: grpc.ServicerContext) -> Any:
        calls.append(time.monotonic())
        if len(calls) <= 2:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many threads")
        return answer(request, 7)

    with stand_in(predict) as address:
        scored = scored_by(address, numbers(3))
    assert [prediction.label for prediction in scored.values()] == ["cat"] * 3
    assert len(calls) == 3
    assert calls[2] - calls[1] > calls[1] - calls[0] > 0.04


def test_the_request_asks_for_the_version_and_for_no_more_outputs_than_it_needs():
    requests = []

    def predict(request: Any, _: grpc.ServicerContext) -> Any:
        requests.append(request)
        return answer(request, 7)

    with stand_in(predict) as address:
        scored = scored_by(address, numbers(3))
    (request,) = requests
    assert request.model_spec == wire.ModelSpec(
        name="m", version={"value": 7}, signature_name=BYTES
    )
    assert list(request.output_filter) == ["label", "confidence", "top_labels", "top_scores"]
    assert next(iter(scored.values())) == Prediction(
        "cat", 0.75, ["cat"], ["cat", "dog"], [0.75, 0.25]
    )


def test_a_row_of_which_the_model_is_not_sure_has_no_labels():
    with stand_in(lambda request, _: answer(request, 7, label=b"unknown")) as address:
        scored = scored_by(address, numbers(3))
    assert next(iter(scored.values())) == Prediction(
        "unknown", 0.75, [], ["cat", "dog"], [0.75, 0.25]
    )


def test_a_model_of_several_labels_is_asked_for_all_of_them():
    requests = []

    def predict(request: Any, _: grpc.ServicerContext) -> Any:
        requests.append(request)
        return answer(request, 7, labels=[b"cat", "größe".encode(), b""])

    with stand_in(predict) as address:
        scored = scored_by(address, numbers(3), outputs=prediction_outputs("multi"))
    assert requests[0].output_filter[-1] == "labels"
    assert next(iter(scored.values())).labels == ["cat", "größe"]


def test_an_answer_with_too_few_rows_names_the_output():
    def predict(request: Any, _: grpc.ServicerContext) -> Any:
        response = answer(request, 7)
        response.outputs["confidence"].tensor_shape.dim[0].size = 2
        response.outputs["confidence"].tensor_content = bytes(8)
        return response

    with (
        stand_in(predict) as address,
        pytest.raises(ServingError, match="3 rows were sent, and 2 came back as confidence"),
    ):
        scored_by(address, numbers(3))


def test_an_answer_of_another_version_is_an_error():
    with (
        stand_in(lambda request, _: answer(request, 8)) as address,
        pytest.raises(ServingError, match=r"asked for version 7 of model m .* version 8"),
    ):
        scored_by(address, numbers(3))


def test_a_batch_above_the_servers_limit_is_halved_and_a_row_above_it_is_too_large():
    rows = [(str(i), bytes(3000)) for i in range(8)] + [("large", bytes(20_000))]
    with stand_in(
        lambda request, _: answer(request, 7), max_receive_message_length=10_000
    ) as address:
        scored = scored_by(address, rows)
    assert scored.pop("large").code is FailureCode.TOO_LARGE
    assert {prediction.label for prediction in scored.values()} == {"cat"}


def test_requests_run_at_the_same_time_up_to_the_limit():
    running, most, lock = 0, 0, threading.Lock()

    def predict(request: Any, _: grpc.ServicerContext) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        return answer(request, 7)

    with stand_in(predict) as address:
        scored_by(address, numbers(40), batch_rows=2, in_flight=3)
    assert most == 3


def test_several_channels_are_several_connections():
    peers = set()

    def predict(request: Any, context: grpc.ServicerContext) -> Any:
        peers.add(context.peer())
        return answer(request, 7)

    with stand_in(predict) as address:
        scored_by(address, numbers(40), batch_rows=2, channels=3)
    assert len(peers) == 3


def test_a_server_that_does_not_answer_in_time_is_one_clear_line():
    def predict(request: Any, _: grpc.ServicerContext) -> Any:
        time.sleep(1)
        return answer(request, 7)

    with (
        stand_in(predict) as address,
        pytest.raises(ServingError, match=r"did not answer within 0\.2 s, 3 times") as caught,
    ):
        scored_by(address, numbers(1), deadline_seconds=0.2)
    assert caught.value.code is FailureCode.TIMEOUT


def test_something_else_at_that_address_is_one_clear_line():
    with (
        stand_in(lambda request, _: answer(request, 7)) as address,
        ScoringClient(address) as client,
        pytest.raises(ServingError, match=f"{address} is not TensorFlow Serving"),
    ):
        client.resolve_version("m")

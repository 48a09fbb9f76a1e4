"""What happens to requests, answers and memory while versions come and go."""

import gc
import logging
import socket
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from linnaeus.errors import ServingError
from linnaeus.storage import Folder
from serving.protocol import tensors, wire

pytestmark = pytest.mark.slow

SECONDS = 20


def ask(channel: grpc.Channel, x: float = 0.0) -> tuple[int, float]:
    """The version that answers, and its y."""
    call = channel.unary_unary(
        wire.PREDICT,
        request_serializer=wire.PredictRequest.SerializeToString,
        response_deserializer=wire.PredictResponse.FromString,
    )
    request = wire.PredictRequest(model_spec={"name": "m"})
    tensors.fill_content(request.inputs["x"], np.array([[x]], "float32"))
    response = call(request, timeout=SECONDS)
    return response.model_spec.version.value, tensors.to_array(response.outputs["y"]).item()


def states(server: Any) -> dict[int, str]:
    return {
        version: state.state.name for version, state in server._catalog._models["m"].states.items()
    }


def until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def test_the_newest_complete_version_is_served(
    half_plus: Any, publish: Any, serve: Any, tmp_path: Path
):
    publish(half_plus(2), tmp_path, 9)
    publish(half_plus(3), tmp_path, "0010")
    (tmp_path / "11" / "variables").mkdir(parents=True)
    (tmp_path / "claims").mkdir()
    server = serve({"m": tmp_path})
    with grpc.insecure_channel(server.address) as channel:
        assert ask(channel) == (10, 3.0)


def test_a_switch_under_load_drops_no_request(
    half_plus: Any, publish: Any, serve: Any, tmp_path: Path
):
    publish(half_plus(2), tmp_path, 1)
    server = serve({"m": tmp_path})
    answers: list[tuple[int, float]] = []
    failures: list[Exception] = []
    stopping = threading.Event()

    def load() -> None:
        with grpc.insecure_channel(server.address) as channel:
            while not stopping.is_set():
                try:
                    answers.append(ask(channel, 8.0))
                except Exception as error:
                    failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for version in (2, 3):
        publish(half_plus(version + 1), tmp_path, version)
        until(lambda version=version: (version, 5.0 + version) in answers)  # type: ignore[misc]
    until(lambda: states(server) == {3: "AVAILABLE", 2: "END", 1: "END"})
    stopping.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert set(answers) == {(1, 6.0), (2, 7.0), (3, 8.0)}


def test_a_request_under_way_finishes_on_the_old_version_which_then_leaves_memory(
    half_plus: Any, publish: Any, serve: Any, tmp_path: Path
):
    publish(half_plus(2), tmp_path, 1)
    server = serve({"m": tmp_path})
    _, held = server._catalog.find(wire.PredictRequest(model_spec={"name": "m"}))
    publish(half_plus(3), tmp_path, 2)
    until(lambda: states(server).get(1) == "END")
    signature = held.signatures["serving_default"]
    feed, fetch = signature.inputs["x"].name, signature.outputs["y"].name
    (y,) = held.run({feed: np.array([[2.0]], "float32")}, [fetch])
    assert y.item() == 3.0
    gone = weakref.ref(held)
    gc.collect()
    gc.disable()
    try:
        del held
        assert gone() is None
    finally:
        gc.enable()


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_up(
    half_plus: Any,
    publish: Any,
    serve: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.CRITICAL)
    publish(half_plus(2), tmp_path, 1)
    server = serve({"m": tmp_path})
    broken = tmp_path / ".staging"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"not a graph")
    broken.rename(tmp_path / "2")
    until(lambda: bool(server._catalog._models["m"].failures))
    assert states(server) == {2: "LOADING", 1: "AVAILABLE"}  # it will be tried again
    with grpc.insecure_channel(server.address) as channel:
        assert ask(channel) == (1, 2.0)
        publish(half_plus(3), tmp_path, 3)
        until(lambda: ask(channel) == (3, 3.0))


def test_a_missing_folder_keeps_what_is_loaded_and_an_empty_one_unloads_it(
    half_plus: Any, publish: Any, serve: Any, tmp_path: Path
):
    base = tmp_path / "m"
    base.mkdir()
    publish(half_plus(2), base, 1)
    server = serve({"m": base})
    with grpc.insecure_channel(server.address) as channel:
        base.rename(tmp_path / "away")
        time.sleep(0.3)
        assert ask(channel) == (1, 2.0)
        base.mkdir()
        until(lambda: states(server) == {1: "END"})
        with pytest.raises(grpc.RpcError, match="Latest"):
            ask(channel)


def warmup_record(x: list[list[float]]) -> bytes:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.name = "whatever"
    log.predict_log.request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.array(x, "float32")))
    return log.SerializeToString()


def with_warmup(source: Path, records: list[bytes]) -> Path:
    import tensorflow as tf

    folder = source / "assets.extra"
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "tf_serving_warmup_requests")) as writer:
        for record in records:
            writer.write(record)
    return source


def test_warm_up_requests_are_replayed(half_plus: Any, publish: Any, tmp_path: Path):
    from serving.models.saved_models import SavedModel
    from serving.models.warmup import warm_up

    folder = with_warmup(publish(half_plus(2), tmp_path, 1), [warmup_record([[1.0]])] * 3)
    assert warm_up(SavedModel(folder), folder) == 3


@pytest.mark.parametrize("count", [1, 1001])
def test_a_failing_warm_up_request_or_too_many_fail_the_load(
    half_plus: Any, publish: Any, serve: Any, tmp_path: Path, count: int
):
    record = b"no prediction log" if count == 1 else warmup_record([[1.0]])
    with_warmup(publish(half_plus(2), tmp_path, 1), [record] * count)
    with pytest.raises(ServingError, match=r"version 1 of model m in .* cannot be loaded"):
        serve({"m": tmp_path})


def test_a_model_without_versions_is_one_clear_line(serve: Any, tmp_path: Path):
    with pytest.raises(ServingError, match=r"no version of model m in .*linnaeus train"):
        serve({"m": tmp_path / "absent"})


@pytest.mark.parametrize("taken", ["port", "rest_api_port"])
def test_a_port_that_is_taken_is_refused_before_models_are_loaded(serve: Any, taken: str, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ServingError, match=f":{port}: another program"):
            serve({"m": tmp_path / "absent"}, **{taken: port})


def test_a_port_that_is_taken_is_one_clear_line(
    half_plus: Any, publish: Any, serve: Any, tmp_path: Path
):
    publish(half_plus(2), tmp_path, 1)
    first = serve({"m": tmp_path}, rest_api_port=0)
    with pytest.raises(ServingError, match=f":{first.port}: another program"):
        serve({"m": tmp_path}, port=first.port)
    with pytest.raises(ServingError, match=f":{first.rest_api_port}: another program"):
        serve({"m": tmp_path}, rest_api_port=first.rest_api_port)


def test_stopping_lets_requests_under_way_finish(
    half_plus: Any, publish: Any, serve: Any, tmp_path: Path
):
    publish(half_plus(2), tmp_path, 1)
    server = serve({"m": tmp_path})
    entered, leave = threading.Event(), threading.Event()
    find = server._catalog.find

    def slow_find(request: Any) -> Any:
        entered.set()
        assert leave.wait(SECONDS)
        return find(request)

    server._catalog.find = slow_find
    with grpc.insecure_channel(server.address) as channel:
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.append(ask(channel)))
        asking.start()
        assert entered.wait(SECONDS)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        time.sleep(0.2)
        assert stopping.is_alive()
        leave.set()
        asking.join(SECONDS)
        stopping.join(SECONDS)
    assert answers == [(1, 2.0)]


def test_a_remote_version_whose_graph_came_first_is_served_when_the_rest_is_there(
    half_plus: Any, serve: Any, s3: Any, tmp_path: Path
):
    import shutil

    uri = f"{s3.bucket()}/models/m"
    models = Folder(uri)
    models.upload(half_plus(2), "1", last=["saved_model.pb"])
    server = serve({"m": uri})
    graph = tmp_path / "graph"
    graph.mkdir()
    shutil.copy(half_plus(3) / "saved_model.pb", graph)
    models.upload(graph, "2")
    until(lambda: 2 in server._catalog._models["m"].failures)
    models.upload(half_plus(3) / "variables", "2/variables")
    with grpc.insecure_channel(server.address) as channel:
        until(lambda: ask(channel) == (2, 3.0))


def test_a_remote_version_is_downloaded_and_deleted_again(half_plus: Any, serve: Any, s3: Any):
    uri = f"{s3.bucket()}/models/m"
    models = Folder(uri)
    models.upload(half_plus(2), "1", last=["saved_model.pb"])
    server = serve({"m": uri})
    copies = server._catalog._models["m"]._folder._cache
    with grpc.insecure_channel(server.address) as channel:
        assert ask(channel) == (1, 2.0)
        models.upload(half_plus(3), "2", last=["saved_model.pb"])
        until(lambda: ask(channel) == (2, 3.0))
    until(lambda: [copy.name for copy in copies.iterdir()] == ["2"])
    server.stop()
    assert not copies.exists()

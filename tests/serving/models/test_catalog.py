"""Models that come, change and go by configuration, while others serve."""

import os
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from serving.protocol import tensors, wire

pytestmark = pytest.mark.slow

SECONDS = 20


@pytest.fixture
def started() -> Iterator[Callable[..., Any]]:
    """`started(config, ...)`: a server of these ModelConfigs that polls fast."""
    from serving.models.catalog import CatalogOptions
    from serving.models.versions import VersionOptions
    from serving.rpc.server import GrpcOptions
    from serving.server import EmbeddedServer, ServerOptions

    servers = []

    def start(*configs: Any, config_file: Path | None = None, **options: Any) -> Any:
        versions = VersionOptions(**options.pop("versions", {}))
        catalog = CatalogOptions(
            file_system_poll_wait_seconds=0.05, versions=versions, wait_for_models=True, **options
        )
        file = str(config_file or "")
        server_options = ServerOptions(
            catalog,
            GrpcOptions(allow_reload_config=True),
            model_config_file=file,
            model_config_file_poll_wait_seconds=0.05 if file else 0,
        )
        server = EmbeddedServer(configs, options=server_options)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop(grace_seconds=1)


def config(name: str, base: Path, *policy: Any, **labels: int) -> Any:
    from serving.models.model_config import ModelConfig
    from serving.models.version_folder import NEWEST

    return ModelConfig(name, str(base), policy[0] if policy else NEWEST, labels)


def ask(server: Any, **spec: Any) -> tuple[int, float]:
    """The version that answers, and its offset: y of x = 0."""
    request = wire.PredictRequest(model_spec={"name": "m", **spec})
    tensors.fill_content(request.inputs["x"], np.zeros((1, 1), "float32"))
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary(
            wire.PREDICT,
            request_serializer=wire.PredictRequest.SerializeToString,
            response_deserializer=wire.PredictResponse.FromString,
        )
        response = call(request, timeout=SECONDS)
    return response.model_spec.version.value, tensors.to_array(response.outputs["y"]).item()


def refusal(server: Any, **spec: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        ask(server, **spec)
    return caught.value.code(), caught.value.details()


def reload(server: Any, text: str, timeout: float = SECONDS) -> Any:
    from google.protobuf import text_format
    from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(text, request.config)
    with grpc.insecure_channel(server.address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        return stub.HandleReloadConfigRequest(request, timeout=timeout)


def listed(*models: tuple[str, Path | str], rest: str = "") -> str:
    configs = [
        f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {rest} }}'
        for name, base in models
    ]
    return "model_config_list {" + " ".join(configs) + "}"


def states(server: Any, name: str = "m") -> dict[int, str]:
    found = server._catalog._models[name].states
    return {version: state.state.name for version, state in found.items()}


def until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


@pytest.fixture
def versions(half_plus: Any, publish: Any, tmp_path: Path) -> Callable[..., Path]:
    """`versions(1, 2, name="m")`: a base path; version N adds N."""

    def make(*numbers: int, name: str = "m") -> Path:
        base = tmp_path / name
        base.mkdir(exist_ok=True)
        for number in numbers:
            publish(half_plus(number), base, number)
        return base

    return make


def policy(*arguments: Any) -> Any:
    from serving.models.version_folder import VersionPolicy

    return VersionPolicy(*arguments)


@pytest.mark.parametrize(
    ("chosen", "served"),
    [((), {3}), ((2,), {2, 3}), ((None,), {1, 2, 3}), ((None, frozenset({1, 3})), {1, 3})],
)
def test_the_policys_versions_answer_and_no_others(
    versions: Any, started: Any, chosen: tuple, served: set[int]
):
    server = started(config("m", versions(1, 2, 3), policy(*chosen)))
    assert ask(server) == (max(served), float(max(served)))
    until(lambda: set(states(server)) == served)
    for version in (1, 2, 3):
        if version in served:
            assert ask(server, version={"value": version}) == (version, float(version))
        else:
            assert refusal(server, version={"value": version}) == (
                grpc.StatusCode.NOT_FOUND,
                f"Servable not found for request: Specific(m, {version})",
            )


def test_a_version_whose_folder_goes_is_unloaded_and_the_next_one_answers(
    versions: Any, started: Any
):
    base = versions(1, 2)
    server = started(config("m", base, policy(None)))
    shutil.rmtree(base / "2")
    until(lambda: states(server) == {2: "END", 1: "AVAILABLE"})
    assert ask(server) == (1, 1.0)


def test_a_half_copied_version_is_passed_over_until_its_graph_is_there(
    half_plus: Any, versions: Any, started: Any
):
    base = versions(1)
    server = started(config("m", base))
    shutil.copytree(
        half_plus(2), base / "2", ignore=lambda *_: ["saved_model.pb", "fingerprint.pb"]
    )
    time.sleep(0.3)
    assert ask(server) == (1, 1.0)
    assert states(server) == {1: "AVAILABLE"}
    shutil.copy(half_plus(2) / "saved_model.pb", base / "2" / ".copying")
    (base / "2" / ".copying").rename(base / "2" / "saved_model.pb")
    until(lambda: ask(server) == (2, 2.0))


def test_a_version_that_fails_is_tried_again_until_it_loads(
    half_plus: Any, versions: Any, started: Any
):
    base = versions(1)
    options = {"load_retry_seconds": 0.05, "max_load_retries": 10_000}
    server = started(config("m", base), versions=options)
    shutil.copytree(half_plus(2), base / "2", ignore=lambda *_: ["variables"])
    until(lambda: bool(server._catalog._models["m"].failures))
    assert ask(server) == (1, 1.0)
    shutil.copytree(half_plus(2) / "variables", base / "2" / "variables")
    until(lambda: ask(server) == (2, 2.0))


def test_a_version_that_fails_for_good_is_given_up_with_its_reason(versions: Any, started: Any):
    base = versions(1)
    options = {"load_retry_seconds": 0.0, "max_load_retries": 2}
    server = started(config("m", base), versions=options)
    (base / "2").mkdir()
    (base / "2" / "saved_model.pb").write_bytes(b"no graph")
    until(lambda: states(server).get(2) == "END")
    (state,) = server._catalog.states(
        wire.GetModelStatusRequest(model_spec={"name": "m", "version": {"value": 2}})
    ).values()
    assert state.code is not grpc.StatusCode.OK
    assert state.message
    assert server._catalog._models["m"].failures[2].tries == 3
    assert ask(server) == (1, 1.0)


def test_one_slow_or_broken_model_does_not_hold_up_another(
    versions: Any, started: Any, half_plus: Any, publish: Any
):
    broken = versions(name="broken")
    (broken / "1").mkdir()
    (broken / "1" / "saved_model.pb").write_bytes(b"no graph")
    good = versions(1)
    server: list[Any] = []
    starting = threading.Thread(
        target=lambda: server.append(started(config("m", good), config("broken", broken)))
    )
    starting.start()
    time.sleep(0.5)
    assert starting.is_alive()  # it waits for the broken one, as long as that may be tried again
    publish(half_plus(2), broken, 2)
    starting.join(SECONDS)
    assert ask(server[0]) == (1, 1.0)
    assert ask(server[0], name="broken") == (2, 2.0)


def test_the_start_fails_once_a_model_is_given_up(versions: Any, started: Any):
    from serving.grpc_status import StatusError

    base = versions()
    (base / "7").mkdir()
    (base / "7" / "saved_model.pb").write_bytes(b"no graph")
    expected = r"^1 servable\(s\) did not become available: \{\{\{name: m version: 7\} due to error"
    with pytest.raises(StatusError, match=expected) as caught:
        started(config("m", base), versions={"max_load_retries": 0})
    assert caught.value.code is grpc.StatusCode.UNKNOWN


def test_a_label_leads_to_its_version_and_moves_by_a_reload(versions: Any, started: Any):
    base = versions(1, 2)
    both = "model_version_policy { all {} }"
    server = started(config("m", base, policy(None)))
    unknown = (grpc.StatusCode.INVALID_ARGUMENT, "Unrecognized servable version label: stable")
    assert refusal(server, version_label="stable") == unknown
    until(lambda: states(server) == {2: "AVAILABLE", 1: "AVAILABLE"})
    for version in (1, 2):
        label = f'{both} version_labels {{ key: "stable" value: {version} }}'
        reload(server, listed(("m", base), rest=label))
        assert ask(server, version_label="stable") == (version, float(version))
    reload(server, listed(("m", base), rest=both))
    assert refusal(server, version_label="stable") == unknown


def test_a_label_for_a_version_to_come_needs_leave(versions: Any, started: Any):
    from serving.grpc_status import StatusError

    base = versions(1)
    with pytest.raises(StatusError, match="version 1 of model m, which is not currently"):
        started(config("m", base, stable=1))
    server = started(
        config("m", base, stable=1, next=2), allow_version_labels_for_unavailable_models=True
    )
    assert ask(server, version_label="stable") == (1, 1.0)
    assert refusal(server, version_label="next") == (
        grpc.StatusCode.NOT_FOUND,
        "Servable not found for request: Specific(m, 2)",
    )


def test_a_reload_adds_and_removes_models(versions: Any, started: Any):
    from tensorflow_serving.apis import get_model_status_pb2

    first, second = versions(1), versions(2, name="other")
    server = started(config("m", first))
    answer = reload(server, listed(("m", first), ("other", second)))
    assert answer.HasField("status")
    assert answer.status.error_code == 0
    assert ask(server, name="other") == (2, 2.0)
    reload(server, listed(("other", second)))
    assert refusal(server) == (
        grpc.StatusCode.NOT_FOUND,
        "Servable not found for request: Latest(m)",
    )
    request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "m"})
    until(lambda: [s.state.name for s in server._catalog.states(request).values()] == ["END"])
    reload(server, listed(("m", first), ("other", second)))
    assert ask(server) == (1, 1.0)


def test_a_reload_waits_for_no_model_that_is_loading(
    versions: Any, started: Any, monkeypatch: pytest.MonkeyPatch
):
    from serving.models import versions as module

    server = started(config("m", versions(1)), num_load_threads=4)
    leave, load = threading.Event(), module.load
    monkeypatch.setattr(module, "load", lambda *a: (leave.wait(SECONDS), load(*a))[1])
    base = versions(2)
    until(lambda: states(server).get(2) == "LOADING")
    reload(server, listed(("m", base), rest="model_version_policy { all {} }"), timeout=5)
    reload(server, "model_config_list {}", timeout=5)
    assert refusal(server)[0] is grpc.StatusCode.NOT_FOUND
    leave.set()
    until(lambda: states(server) == {2: "END", 1: "END"})


def test_a_reload_changes_base_path_and_policy(versions: Any, started: Any):
    first, second = versions(1), versions(2, 3, name="elsewhere")
    server = started(config("m", first))
    reload(server, listed(("m", second), rest="model_version_policy { all {} }"))
    until(lambda: states(server) == {3: "AVAILABLE", 2: "AVAILABLE", 1: "END"})
    assert ask(server) == (3, 3.0)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", grpc.StatusCode.INVALID_ARGUMENT, "ServerModelConfig type not supported by"),
        ("custom_model_config {}", grpc.StatusCode.INVALID_ARGUMENT, "Only ModelConfigList is"),
        (listed(("m", Path("m"))), grpc.StatusCode.INVALID_ARGUMENT, "absolute path or URI"),
        (listed(("m", "hdfs://a/b")), grpc.StatusCode.INVALID_ARGUMENT, "cannot read hdfs://"),
        (
            listed(("m", Path("/m")), ("new", "hdfs://a/b")),
            grpc.StatusCode.INVALID_ARGUMENT,
            "cannot read hdfs://",
        ),
        (
            listed(("m", Path("/m")), rest='version_labels { key: "a" value: 9 }'),
            grpc.StatusCode.FAILED_PRECONDITION,
            "version 9 of model m",
        ),
    ],
)
def test_a_reload_that_is_refused_changes_nothing(
    versions: Any, started: Any, text: str, code: grpc.StatusCode, words: str
):
    base = versions(1)
    server = started(config("m", base))
    reload(server, listed(("m", base), rest='version_labels { key: "stable" value: 1 }'))
    with pytest.raises(grpc.RpcError) as caught:
        reload(server, text)
    assert caught.value.code() is code
    assert words in caught.value.details()
    time.sleep(0.2)
    assert ask(server, version_label="stable") == (1, 1.0)
    assert refusal(server, name="new")[0] is grpc.StatusCode.NOT_FOUND


def test_a_reload_that_waits_for_a_model_holds_up_no_other(
    versions: Any, started: Any, tmp_path: Path
):
    base, absent = versions(1), tmp_path / "absent"
    server = started(config("m", base))
    with pytest.raises(grpc.RpcError) as caught:
        reload(server, listed(("m", base), ("absent", absent)), timeout=0.5)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    reload(server, listed(("other", versions(2, name="other"))))
    assert ask(server, name="other") == (2, 2.0)


def test_a_config_file_is_followed_and_its_mistakes_are_not(
    versions: Any, started: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    first, second = versions(1), versions(2, name="other")
    file = tmp_path / "models.config"
    file.write_text(listed(("m", first)))
    server = started(config("m", first), config_file=file)
    file.write_text("improper config file")
    until(lambda: "Error parsing text-format" in caplog.text)
    assert ask(server) == (1, 1.0)
    file.write_text(listed(("m", Path("relative"))))
    until(lambda: "absolute path or URI" in caplog.text)
    file.write_text(listed(("m", first), ("other", second)))
    until(lambda: "other" in server._catalog._models)
    until(lambda: states(server, "other") == {2: "AVAILABLE"})
    file.write_text(listed(("other", second)))
    until(lambda: states(server) == {1: "END"})
    assert ask(server, name="other") == (2, 2.0)


def test_models_load_at_once_but_no_more_than_allowed(
    versions: Any, started: Any, monkeypatch: pytest.MonkeyPatch
):
    from serving.models import versions as module

    loading, most = 0, 0
    counting = threading.Lock()
    load = module.load

    def slow(*arguments: Any) -> Any:
        nonlocal loading, most
        with counting:
            loading += 1
            most = max(most, loading)
        time.sleep(0.2)
        try:
            return load(*arguments)
        finally:
            with counting:
                loading -= 1

    monkeypatch.setattr(module, "load", slow)
    names = [f"m{number}" for number in range(5)]
    started(*(config(name, versions(1, name=name)) for name in names), num_load_threads=2)
    assert most == 2


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.soak
def test_memory_does_not_grow_over_switches(versions: Any, started: Any, publish: Any):
    import tensorflow as tf

    class Large(tf.Module):
        def __init__(self) -> None:
            self.weights = tf.Variable(tf.ones([4_000_000]))

        @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
        def total(self, x: Any) -> dict[str, Any]:
            return {"y": x + tf.reduce_sum(self.weights)}

    base = versions()
    source = base.parent / "large"
    module = Large()
    tf.saved_model.save(module, str(source), module.total)
    publish(source, base, 1)
    server = started(config("m", base))
    gone, sizes = [], []
    for version in range(2, 14):
        gone.append(weakref.ref(server._catalog._models["m"].loaded[version - 1]))
        publish(source, base, version)
        until(lambda version=version: ask(server)[0] == version)
        until(lambda version=version: states(server)[version - 1] == "END")
        shutil.rmtree(base / str(version - 1))
        sizes.append(resident_bytes())
    assert [model() for model in gone] == [None] * len(gone)
    assert sizes[-1] - sizes[3] < 3 * 16e6  # eight switches of 16 MB each

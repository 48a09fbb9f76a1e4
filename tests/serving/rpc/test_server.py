"""What gRPC is spoken over: TLS, sockets, limits, arguments, health."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from linnaeus.errors import ConfigurationError, ServingError
from serving.protocol import tensors, wire
from tests.certificates import Authority

pytestmark = pytest.mark.slow

SECONDS = 20


@pytest.fixture(scope="module")
def base(half_plus: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("m")
    (base / "1").symlink_to(half_plus(2))
    return base


@pytest.fixture
def started(base: Path) -> Iterator[Callable[..., Any]]:
    """`started(ssl=..., ...)`: a server with these GrpcOptions."""
    from serving.rpc.server import GrpcOptions
    from serving.server import EmbeddedServer, ServerOptions

    servers = []

    def start(**options: Any) -> Any:
        server = EmbeddedServer(
            {"m": str(base)}, options=ServerOptions(grpc=GrpcOptions(**options))
        )
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop(grace_seconds=1)


def ask(channel: grpc.Channel, timeout: float = SECONDS) -> float:
    call = channel.unary_unary(
        wire.PREDICT,
        request_serializer=wire.PredictRequest.SerializeToString,
        response_deserializer=wire.PredictResponse.FromString,
    )
    request = wire.PredictRequest(model_spec={"name": "m"})
    tensors.fill_content(request.inputs["x"], np.zeros((1, 1), "float32"))
    return tensors.to_array(call(request, timeout=timeout).outputs["y"]).item()


def code(channel: grpc.Channel) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel, timeout=2)
    return caught.value.code()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("an authority")


def ssl_config(tmp_path: Path, rest: str = "", **texts: str) -> Any:
    from serving.rpc.credentials import read_ssl_config

    path = tmp_path / "ssl.config"
    # As people write it: the PEM's own line breaks within the quotes.
    lines = [f'{name}: "{text}"' for name, text in texts.items()]
    path.write_text("\n".join([*lines, rest, "# it's the end"]))
    return read_ssl_config(str(path))


def secure(server: Any, authority: Authority, pair: tuple[str, str] | None = None) -> Any:
    key, certificate = (text.encode() for text in pair) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.pem.encode(), key, certificate)
    return grpc.secure_channel(server.address, credentials)


def test_tls_answers_those_who_trust_its_authority_and_no_one_in_the_clear(
    started: Any, authority: Authority, tmp_path: Path
):
    key, certificate = authority.pair()
    server = started(ssl=ssl_config(tmp_path, server_key=key, server_cert=certificate))
    with secure(server, authority) as channel:
        assert ask(channel) == 2.0
    with secure(server, Authority("a stranger")) as channel:
        assert code(channel) is grpc.StatusCode.UNAVAILABLE
    with grpc.insecure_channel(server.address) as channel:
        assert code(channel) is grpc.StatusCode.UNAVAILABLE


def test_mutual_tls_answers_only_clients_with_a_certificate_of_its_authority(
    started: Any, authority: Authority, tmp_path: Path
):
    key, certificate = authority.pair()
    clients = Authority("of clients")
    config = ssl_config(
        tmp_path,
        "client_verify: true",
        server_key=key,
        server_cert=certificate,
        custom_ca=clients.pem,
    )
    server = started(ssl=config)
    with secure(server, authority, clients.pair("a client")) as channel:
        assert ask(channel) == 2.0
    for pair in (None, authority.pair("another client")):
        with secure(server, authority, pair) as channel:
            assert code(channel) is grpc.StatusCode.UNAVAILABLE


def test_a_key_is_never_shown(tmp_path: Path):
    config = ssl_config(tmp_path, server_key="secret", server_cert="public")
    assert "secret" not in repr(config)
    assert "public" in repr(config)


def test_an_ssl_config_without_key_or_certificate_is_one_clear_line(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"ssl.config lacks server_key or server_cert"):
        ssl_config(tmp_path, server_cert="x")
    with pytest.raises(ConfigurationError, match=r"Error parsing text-format .*SSLConfig"):
        ssl_config(tmp_path, "no_such_field: 1")


def test_clients_certificates_that_no_authority_could_have_signed_are_one_clear_line(
    tmp_path: Path,
):
    with pytest.raises(ConfigurationError, match=r"ssl.config lacks custom_ca"):
        ssl_config(tmp_path, "client_verify: true", server_key="a", server_cert="b")


def test_a_key_that_is_none_is_not_taken_for_a_port_that_is_taken(started: Any, tmp_path: Path):
    config = ssl_config(tmp_path, server_key="no key", server_cert="no certificate")
    with pytest.raises(ServingError, match="server_key and server_cert") as caught:
        started(ssl=config)
    assert "\n" not in str(caught.value)


def test_a_unix_socket_answers_besides_the_port(started: Any, tmp_path: Path):
    server = started(grpc_socket_path=str(tmp_path / "s"))
    for address in (server.address, f"unix:{tmp_path / 's'}"):
        with grpc.insecure_channel(address) as channel:
            assert ask(channel) == 2.0


def test_requests_beyond_threads_and_queue_are_told_to_back_off(started: Any):
    server = started(grpc_max_threads=2)
    leave = threading.Event()
    find = server._catalog.find

    def slow_find(request: Any) -> Any:
        assert leave.wait(SECONDS)
        return find(request)

    server._catalog.find = slow_find
    answers: list[Any] = []

    def keep(channel: grpc.Channel) -> None:
        try:
            answers.append(ask(channel))
        except grpc.RpcError as error:
            answers.append(error.code())

    with grpc.insecure_channel(server.address) as channel:
        threads = [threading.Thread(target=keep, args=(channel,)) for _ in range(70)]
        for thread in threads:
            thread.start()
        give_up_at = time.monotonic() + SECONDS
        while len(answers) < 6:
            assert time.monotonic() < give_up_at
            time.sleep(0.02)
        assert set(answers) == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        leave.set()
        for thread in threads:
            thread.join(SECONDS)
    assert answers.count(2.0) == 64


@pytest.mark.parametrize("compression", list(grpc.Compression), ids=lambda c: c.name)
def test_a_message_beyond_the_limit_is_refused_whatever_it_was_packed_to(
    started: Any, compression: grpc.Compression
):
    server = started(grpc_max_message_bytes=1 << 20)
    request = wire.PredictRequest(model_spec={"name": "m"})
    tensors.fill_content(request.inputs["x"], np.zeros((300_000, 1), "float32"))
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary(wire.PREDICT)
        with pytest.raises(grpc.RpcError, match="larger than max") as caught:
            call(request.SerializeToString(), timeout=SECONDS, compression=compression)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert ask(channel) == 2.0


def test_a_large_message_passes_both_ways(started: Any):
    server = started()
    request = wire.PredictRequest(model_spec={"name": "m"})
    rows = np.zeros((3_000_000, 1), "float32")  # three times gRPC's limit
    tensors.fill_content(request.inputs["x"], rows)
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.address, options) as channel:
        call = channel.unary_unary(
            wire.PREDICT,
            request_serializer=wire.PredictRequest.SerializeToString,
            response_deserializer=wire.PredictResponse.FromString,
        )
        response = call(request, timeout=SECONDS)
    assert tensors.to_array(response.outputs["y"]).shape == rows.shape


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", ()),
        ("grpc.max_concurrent_streams=10", (("grpc.max_concurrent_streams", 10),)),
        ("a=1,b=x,c=-2", (("a", 1), ("b", "x"), ("c", -2))),
        ("a=99999999999", (("a", "99999999999"),)),
        ("a=b=c", (("a", "b=c"),)),
    ],
)
def test_channel_arguments_are_numbers_where_they_can_be(text: str, arguments: tuple):
    from serving.rpc.server import channel_arguments

    assert channel_arguments(text) == arguments


def test_channel_arguments_reach_grpc(started: Any):
    server = started(grpc_channel_arguments=(("grpc.max_receive_message_length", 10),))
    with grpc.insecure_channel(server.address) as channel:
        assert code(channel) is grpc.StatusCode.RESOURCE_EXHAUSTED


def check(server: Any, service: str) -> Any:
    from serving.rpc.health import HealthCheckRequest, HealthCheckResponse

    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        return call(HealthCheckRequest(service=service), timeout=SECONDS).status


def test_health_is_told_of_the_services_that_are_there(started: Any):
    server = started(enable_grpc_healthcheck_service=True)
    services = ["", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"]
    assert [check(server, service) for service in services] == [1, 1, 1]
    with pytest.raises(grpc.RpcError) as caught:
        check(server, "another")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_health_is_not_told_unless_asked_for(started: Any):
    with pytest.raises(grpc.RpcError) as caught:
        check(started(), "")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

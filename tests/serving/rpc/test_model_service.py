from pathlib import Path
from typing import Any

import grpc
import pytest

pytestmark = pytest.mark.slow

SECONDS = 20


@pytest.fixture
def stub(channel: grpc.Channel) -> Any:
    from tensorflow_serving.apis import model_service_pb2_grpc

    return model_service_pb2_grpc.ModelServiceStub(channel)


def request(**spec: Any) -> Any:
    from tensorflow_serving.apis import get_model_status_pb2

    return get_model_status_pb2.GetModelStatusRequest(model_spec=spec)


def test_a_served_version_is_available(stub: Any):
    for spec in ({"name": "m"}, {"name": "m", "version": {"value": 123}}):
        (status,) = stub.GetModelStatus(request(**spec), timeout=SECONDS).model_version_status
        assert (status.version, status.state, status.status.error_code) == (123, 30, 0)


def test_a_label_is_ignored(stub: Any):
    response = stub.GetModelStatus(request(name="m", version_label="x"), timeout=SECONDS)
    assert [status.version for status in response.model_version_status] == [123]


def test_no_client_may_name_models_to_an_embedded_server(stub: Any, tmp_path: Path):
    from tensorflow_serving.apis import model_management_pb2

    message = model_management_pb2.ReloadConfigRequest()
    message.config.model_config_list.config.add(
        name="other", base_path=str(tmp_path), model_platform="tensorflow"
    )
    with pytest.raises(grpc.RpcError, match="--model_config_file") as caught:
        stub.HandleReloadConfigRequest(message, timeout=SECONDS)
    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert stub.GetModelStatus(request(name="m"), timeout=SECONDS).model_version_status


@pytest.mark.parametrize(
    ("flags", "is_allowed"),
    [
        ([], True),
        (["--host=localhost"], True),
        (["--host=127.0.0.2"], True),
        (["--host=[::1]"], True),
        (["--host=0.0.0.0"], False),
        (["--host=::"], False),
        (["--host=my.host"], False),
        (["--host=0.0.0.0", "--ssl_config_file={tls}"], False),
        (["--host=0.0.0.0", "--ssl_config_file={mutual}"], True),
        (["--host=0.0.0.0", "--allow_reload_config"], True),
    ],
)
def test_the_program_lets_clients_name_models_that_are_near_or_known(
    tmp_path: Path, flags: list[str], is_allowed: bool
):
    from serving import flags as all_flags
    from serving.model_server import _grpc_options

    tls, mutual = tmp_path / "tls", tmp_path / "mutual"
    tls.write_text('server_key: "a" server_cert: "b" custom_ca: "c"')
    mutual.write_text('server_key: "a" server_cert: "b" custom_ca: "c" client_verify: true')
    parsed = all_flags.parse([flag.format(tls=tls, mutual=mutual) for flag in flags], None)
    assert _grpc_options(parsed).allow_reload_config is is_allowed


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"name": "other"}, "Could not find any versions of model other"),
        ({"name": "m", "version": {"value": 4}}, "Could not find version 4 of model m"),
    ],
)
def test_what_is_not_there_is_not_found(stub: Any, spec: dict, text: str):
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetModelStatus(request(**spec), timeout=SECONDS)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, text)

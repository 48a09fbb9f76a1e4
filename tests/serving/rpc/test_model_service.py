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

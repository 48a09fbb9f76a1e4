"""The client's own messages against the real stubs, byte for byte."""

import subprocess
import sys

import pytest
from google.protobuf import message
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.protocol import wire

int32 = st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
floats32 = st.floats(width=32, allow_nan=False)
text = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


def fields(**strategies: st.SearchStrategy) -> st.SearchStrategy[dict]:
    return st.fixed_dictionaries({}, optional=strategies)


def lists(strategy: st.SearchStrategy) -> st.SearchStrategy[list]:
    return st.lists(strategy, max_size=4)


shapes = fields(dim=lists(fields(size=int64, name=text)), unknown_rank=st.booleans())
tensor_fields = fields(
    dtype=st.integers(0, 30),
    tensor_shape=shapes,
    version_number=int32,
    tensor_content=st.binary(max_size=20),
    float_val=lists(floats32),
    double_val=lists(st.floats(allow_nan=False)),
    int_val=lists(int32),
    string_val=lists(st.binary(max_size=9)),
    scomplex_val=lists(floats32),
    int64_val=lists(int64),
    bool_val=lists(st.booleans()),
    dcomplex_val=lists(st.floats(allow_nan=False)),
    half_val=lists(int32),
    uint32_val=lists(st.integers(0, 2**32 - 1)),
    uint64_val=lists(st.integers(0, 2**64 - 1)),
)
model_specs = st.one_of(
    fields(name=text, signature_name=text, version=fields(value=int64)),
    fields(name=text, signature_name=text, version_label=text),
)
tensor_maps = st.dictionaries(text, tensor_fields, max_size=3)
requests = fields(model_spec=model_specs, inputs=tensor_maps, output_filter=lists(text))
responses = fields(model_spec=model_specs, outputs=tensor_maps)
status_requests = fields(model_spec=model_specs)
status_responses = fields(
    model_version_status=lists(
        fields(
            version=int64,
            state=st.sampled_from([0, 10, 20, 30, 40, 50]),
            status=fields(error_code=st.integers(0, 16), error_message=text),
        )
    )
)


def both_ways(real: type[message.Message], own: type[message.Message], values: dict) -> None:
    written = own(**values).SerializeToString(deterministic=True)
    assert written == real(**values).SerializeToString(deterministic=True)
    assert own.FromString(written).SerializeToString(deterministic=True) == written


@pytest.mark.slow
@settings(deadline=None)
@given(requests, responses)
def test_predict_messages_are_the_protocols(request: dict, response: dict):
    from tensorflow_serving.apis import predict_pb2

    both_ways(predict_pb2.PredictRequest, wire.PredictRequest, request)
    both_ways(predict_pb2.PredictResponse, wire.PredictResponse, response)


@pytest.mark.slow
@settings(deadline=None)
@given(status_requests, status_responses)
def test_model_status_messages_are_the_protocols(request: dict, response: dict):
    from tensorflow_serving.apis import get_model_status_pb2 as status_pb2

    both_ways(status_pb2.GetModelStatusRequest, wire.GetModelStatusRequest, request)
    both_ways(status_pb2.GetModelStatusResponse, wire.GetModelStatusResponse, response)


@pytest.mark.slow
def test_method_paths_and_states_are_the_protocols():
    from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2, predict_pb2
    from tensorflow_serving.apis import prediction_service_pb2 as service_pb2

    predict = service_pb2.DESCRIPTOR.services_by_name["PredictionService"]
    status = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"]
    assert f"/{predict.full_name}/Predict" == wire.PREDICT
    assert f"/{status.full_name}/GetModelStatus" == wire.GET_MODEL_STATUS
    assert predict_pb2.PredictRequest.DESCRIPTOR.full_name == "tensorflow.serving.PredictRequest"
    state = get_model_status_pb2.ModelVersionStatus.State
    assert state.Value("AVAILABLE") == wire.STATE_AVAILABLE
    assert {state.Value("START"), state.Value("LOADING")} == wire.STATE_LOADING


@pytest.mark.slow
def test_a_client_imports_neither_tensorflow_nor_its_stubs():
    loaded = "{m.split('.')[0] for m in sys.modules}"
    program = (
        f"import sys, serving.client; print({loaded} & {{'tensorflow', 'tensorflow_serving'}})"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "set()"

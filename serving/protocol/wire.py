"""TensorFlow Serving's messages as a client needs them, without TensorFlow or its stubs.

The public stubs import all of TensorFlow, seconds and hundreds of megabytes that a worker has no
other use for. Field numbers and types are those of `tensorflow_serving/apis/*.proto` and
`tensorflow/core/framework/tensor*.proto`; names of messages do not travel, so these stand in a
package and a descriptor pool of their own and never meet the real ones in one process.
"""

from typing import Any, Final

from serving.protocol.messages import Schema, declare

PREDICT: Final = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_STATUS: Final = "/tensorflow.serving.ModelService/GetModelStatus"

STATE_LOADING: Final = frozenset({10, 20})
"""`ModelVersionStatus.State` START and LOADING: on the way to AVAILABLE."""
STATE_AVAILABLE: Final = 30

# An open enum travels as an int32 and is declared as one.
_SCHEMA: Schema = {
    "Dim": {"size": (1, "int64"), "name": (2, "string")},
    "TensorShapeProto": {"dim": (2, "repeated Dim"), "unknown_rank": (3, "bool")},
    "TensorProto": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "TensorShapeProto"),
        "version_number": (3, "int32"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "repeated float"),
        "double_val": (6, "repeated double"),
        "int_val": (7, "repeated int32"),
        "string_val": (8, "repeated bytes"),
        "scomplex_val": (9, "repeated float"),
        "int64_val": (10, "repeated int64"),
        "bool_val": (11, "repeated bool"),
        "dcomplex_val": (12, "repeated double"),
        "half_val": (13, "repeated int32"),
        "uint32_val": (16, "repeated uint32"),
        "uint64_val": (17, "repeated uint64"),
    },
    "Int64Value": {"value": (1, "int64")},
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "choice Int64Value"),
        "signature_name": (3, "string"),
        "version_label": (4, "choice string"),
    },
    "PredictRequest": {
        "model_spec": (1, "ModelSpec"),
        "inputs": (2, "map TensorProto"),
        "output_filter": (3, "repeated string"),
    },
    "PredictResponse": {"outputs": (1, "map TensorProto"), "model_spec": (2, "ModelSpec")},
    "StatusProto": {"error_code": (1, "int32"), "error_message": (2, "string")},
    "ModelVersionStatus": {
        "version": (1, "int64"),
        "state": (2, "int32"),
        "status": (3, "StatusProto"),
    },
    "GetModelStatusRequest": {"model_spec": (1, "ModelSpec")},
    "GetModelStatusResponse": {"model_version_status": (1, "repeated ModelVersionStatus")},
}

_MESSAGES = declare("linnaeus.wire", _SCHEMA)

# Classes made at run time have no static type: they behave as the protocol's messages.
TensorProto: Any = _MESSAGES["TensorProto"]
ModelSpec: Any = _MESSAGES["ModelSpec"]
PredictRequest: Any = _MESSAGES["PredictRequest"]
PredictResponse: Any = _MESSAGES["PredictResponse"]
GetModelStatusRequest: Any = _MESSAGES["GetModelStatusRequest"]
GetModelStatusResponse: Any = _MESSAGES["GetModelStatusResponse"]

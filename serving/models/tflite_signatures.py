"""SignatureDefs that were stored in a TensorFlow Lite model's metadata.

That is how signatures were added to such models before the format had its own, and what the stock
program reads. Follows TensorFlow's `lite/tools/signature/signature_def_util.cc`.
"""

from typing import Any

from flatbuffers import flexbuffers
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.lite.python import schema_py_generated as schema

from serving.status import invalid_argument

METADATA = b"signature_defs_metadata"


def stored_signature(content: bytes) -> meta_graph_pb2.SignatureDef | None:
    """The one SignatureDef in a model's metadata, if it has any.

    Raises:
        StatusError: INVALID_ARGUMENT, there are several: which one was meant cannot be told.
    """
    stored = [data for name, data in _metadata(content) if name == METADATA]
    if not stored:
        return None
    signatures = flexbuffers.GetRoot(stored[0]).AsMap.Values
    if len(signatures) != 1:
        raise invalid_argument("Multiple SignatureDefs found in TfLite model: one is expected")
    return meta_graph_pb2.SignatureDef.FromString(bytes(signatures[0].AsStringBytes))


def aliases(infos: Any) -> dict[str, str]:
    """Tensor name -> alias; TensorFlow Lite has no `:0` behind a tensor's name."""
    return {info.name.partition(":")[0]: alias for alias, info in infos.items()}


def _metadata(content: bytes) -> list[tuple[bytes, bytes]]:
    model = schema.Model.GetRootAsModel(content, 0)
    entries = [model.Metadata(index) for index in range(model.MetadataLength())]
    return [(entry.Name(), _buffer(model, entry.Buffer())) for entry in entries]


def _buffer(model: Any, index: int) -> bytes:
    data = model.Buffers(index).DataAsNumpy()
    return b"" if isinstance(data, int) else data.tobytes()

"""The SignatureDefs that a TensorFlow Lite model of older tools carries in its metadata.

Written and read as TensorFlow's `lite/tools/signature/signature_def_util.h` does: under one name,
a FlexBuffer map of serialised SignatureDefs. Newer tools write signatures that interpreters know.
"""

from typing import Any

from flatbuffers import flexbuffers
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2

from serving.status import invalid_argument

_NAME = b"signature_defs_metadata"


def signature_in_metadata(content: bytes) -> Any | None:
    """The one SignatureDef that TensorFlow Serving serves, as `serving_default`; None if none.

    Args:
        content: a FlatBuffer that an interpreter has taken.

    Raises:
        StatusError: INVALID_ARGUMENT, there are several, or what is there cannot be read.
    """
    data = _metadata(content)
    if data is None:
        return None
    try:
        serialized = [value.AsStringBytes for value in flexbuffers.GetRoot(data).AsMap.Values]
        found = [meta_graph_pb2.SignatureDef.FromString(bytes(each)) for each in serialized]
    except (DecodeError, IndexError, TypeError, ValueError) as error:
        raise invalid_argument("Invalid SignatureDefs found in TfLite model: %s") from error
    if len(found) > 1:
        # TensorFlow Serving joins a format and its argument, and so keeps the `%s`.
        raise invalid_argument("Multiple SignatureDefs found in TfLite model: %s")
    return found[0] if found else None


def _metadata(content: bytes) -> bytearray | None:
    model = _schema().Model.GetRootAsModel(content, 0)
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == _NAME:
            data = model.Buffers(entry.Buffer()).DataAsNumpy()
            return bytearray(data.tobytes()) if hasattr(data, "tobytes") else bytearray()
    return None


def _schema() -> Any:
    """The classes of the file format: LiteRT's where it is installed, as its interpreter is."""
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError:
        from tensorflow.lite.python import schema_py_generated
    return schema_py_generated

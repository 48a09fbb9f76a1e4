"""What a TFLite file says of itself: its input, its output, and the labels of its scores.

Clients such as MediaPipe and Android Studio look in two places. The model's buffer
`TFLITE_METADATA` describes the tensors, and names the file that holds the labels; that file lies in
a zip archive behind the model's own bytes. The description is a FlatBuffer of the schema
metadata_schema.fbs (tensorflow/tflite-support and google-ai-edge/mediapipe, identifier M001), of
which the few tables here are enough; a field's number is its place in the table, a union takes two.
"""

import io
import zipfile
from collections.abc import Sequence
from typing import Any, TypeAlias

import flatbuffers
import numpy as np

METADATA = "TFLITE_METADATA"
LABELS_FILE = "labels.txt"
IDENTIFIER = b"M001"
OLDEST_PARSER = "1.0.0"
"""The first version of the schema already had every field here."""

TENSOR_AXIS_LABELS = 2
FEATURE, IMAGE = 1, 2
RGB = 1

Builder: TypeAlias = flatbuffers.Builder
Fields: TypeAlias = dict[int, int]
"""Offsets of what a table refers to, by field number."""


def with_labels(model: Any, labels: Sequence[str], name: str) -> bytes:
    """The file of a model, an object of the TFLite schema, with its description and its labels.

    The model has one input, an RGB picture, and one output, a score a label, in their order.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(description(name), np.uint8)
    entry.name, entry.buffer = METADATA, len(model.buffers)
    model.buffers = [*model.buffers, buffer]
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model)) + _archive(labels)


def description(name: str) -> bytes:
    """The FlatBuffer that goes into the model's metadata."""
    builder = flatbuffers.Builder()
    picture = _tensor(builder, "pixels", _content(builder, IMAGE, _rgb(builder)), [])
    plain = _content(builder, FEATURE, _table(builder, 0, {}))
    scores = _tensor(builder, "scores", plain, [_labels_file(builder)])
    inputs, outputs = _vector(builder, [picture]), _vector(builder, [scores])
    graph = _table(builder, 4, {2: inputs, 3: outputs})
    fields = {0: builder.CreateString(name), 3: _vector(builder, [graph])}
    fields[7] = builder.CreateString(OLDEST_PARSER)
    builder.Finish(_table(builder, 8, fields), IDENTIFIER)
    return bytes(builder.Output())


def _tensor(builder: Builder, name: str, content: int, files: list[int]) -> int:
    """A TensorMetadata: name 0, content 3, associated_files 6."""
    fields = {0: builder.CreateString(name), 3: content}
    if files:
        fields[6] = _vector(builder, files)
    return _table(builder, 7, fields)


def _content(builder: Builder, kind: int, properties: int) -> int:
    """A Content: the kind 0 and the table 1 of its properties."""
    return _table(builder, 2, {1: properties}, {0: kind})


def _rgb(builder: Builder) -> int:
    """ImageProperties: color_space 0."""
    return _table(builder, 2, {}, {0: RGB})


def _labels_file(builder: Builder) -> int:
    """An AssociatedFile: name 0, type 2."""
    return _table(builder, 3, {0: builder.CreateString(LABELS_FILE)}, {2: TENSOR_AXIS_LABELS})


def _table(builder: Builder, size: int, fields: Fields, small: Fields | None = None) -> int:
    """A table of `size` fields, of which `small` are enumerations of a byte."""
    builder.StartObject(size)
    for number, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(number, offset, 0)
    for number, value in (small or {}).items():
        builder.PrependUint8Slot(number, value, 0)
    return int(builder.EndObject())


def _vector(builder: Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _archive(labels: Sequence[str]) -> bytes:
    """A zip file of the labels, a line each; stored as they are, as clients expect it."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(LABELS_FILE), "".join(f"{one}\n" for one in labels))
    return data.getvalue()

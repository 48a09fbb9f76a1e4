"""Protocol buffer messages declared in Python, for those that no installable package has.

Each set of messages stands in a descriptor pool of its own, so that it never meets a real one of
the same name in one process.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Schema = Mapping[str, Mapping[str, tuple[int, str]]]
"""Message -> field -> (number, type).

A type is a scalar's name or a message's of the schema, perhaps after `repeated`, `map` (from
strings) or `choice`: such fields form a message's one oneof.
"""

_Field = descriptor_pb2.FieldDescriptorProto


def declare(package: str, schema: Schema) -> dict[str, Any]:
    """The schema's message classes, by name."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}.proto", package=package, syntax="proto3"
    )
    declaring = _Declaring(package, schema)
    for name, fields in schema.items():
        message = file.message_type.add(name=name)
        if any(kind.startswith("choice") for _, kind in fields.values()):
            message.oneof_decl.add(name="choice")
        for field, (number, kind) in fields.items():
            declaring.add_field(message, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in schema
    }


class _Declaring:
    def __init__(self, package: str, schema: Schema) -> None:
        self._package, self._schema = package, schema

    def add_field(self, message: Any, name: str, number: int, kind: str) -> None:
        modifier, _, type_name = kind.rpartition(" ")
        field = message.field.add(name=name, number=number)
        repeated = modifier in {"repeated", "map"}
        field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
        if modifier == "map":
            type_name = self._add_map_entry(message, name, type_name)
        if modifier == "choice":
            field.oneof_index = 0
        if "." in type_name or type_name in self._schema:
            field.type = _Field.TYPE_MESSAGE
            field.type_name = f".{self._package}.{type_name}"
        else:
            field.type = getattr(_Field, f"TYPE_{type_name.upper()}")

    def _add_map_entry(self, message: Any, field_name: str, value_type: str) -> str:
        entry = message.nested_type.add(name=f"{field_name.capitalize()}Entry")
        entry.options.map_entry = True
        self.add_field(entry, "key", 1, "string")
        self.add_field(entry, "value", 2, value_type)
        return f"{message.name}.{entry.name}"

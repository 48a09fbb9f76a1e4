"""A contract for import-linter: whoever is outside of a room imports what its face names."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class FaceContract(Contract):
    """Importers outside of a room name the room itself, or a module that is in its `__all__`."""

    type_name = "faces"

    rooms = fields.SetField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Find the imports that go past a face."""
        found = [line for room in sorted(self.rooms) for line in past(graph, room, self.rooms)]
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line an import."""
        for line in check.metadata["found"]:
            output.print_error(line)


def past(graph: ImportGraph, room: str, rooms: set[str]) -> list[str]:
    """The imports of modules of a room, from outside of it, that its `__all__` does not name."""
    open_to_all = {f"{room}.{name}" for name in names_of(room)}
    for inner in rooms & graph.find_descendants(room):  # which has a face of its own
        open_to_all |= {inner} | graph.find_descendants(inner)
    return [
        f"{importer} imports {module}, which {room} does not name"
        for module in sorted(graph.find_descendants(room) - open_to_all)
        for importer in sorted(graph.find_modules_that_directly_import(module))
        if not f"{importer}.".startswith(f"{room}.")
    ]


def names_of(room: str) -> list[Any]:
    """The room's `__all__`."""
    source = Path(*room.split("."), "__init__.py").read_text()
    [names] = [
        one.value
        for one in ast.parse(source).body
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "__all__"
    ]
    return list(ast.literal_eval(names))

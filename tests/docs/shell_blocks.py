"""The ```sh blocks of a page, and how a test has them run.

Marks are HTML comments right before a block, each on a line of its own:

    <!-- unrun: REASON -->   the block is not run, for that reason
    <!-- with: s3 -->        from here on a local S3 server, with pictures in s3://photos
    <!-- with: kustomize --> from here on a Kustomize that is built already
    <!-- run: COMMAND -->    run first, unseen by readers
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

FENCE = re.compile(r"^( *)```(.*)$")
MARK = re.compile(r"^\s*<!-- *(\w+): *(.*?) *-->\s*$")
KINDS = ("unrun", "with", "run")
SERVERS = ("s3", "kustomize")


@dataclass(frozen=True)
class Block:
    """A ```sh block: its commands, and what the marks before it say."""

    place: str
    """`page.md:LINE`, for messages."""
    commands: str
    marks: tuple[tuple[str, str], ...] = ()

    def values(self, kind: str) -> list[str]:
        """What the marks of a kind say, in their order."""
        return [value for name, value in self.marks if name == kind]

    @property
    def is_run(self) -> bool:
        """Whether a test runs it."""
        return not self.values("unrun")

    @property
    def wants_s3(self) -> bool:
        """Whether it asks for the S3 server."""
        return "s3" in self.values("with")

    @property
    def wants_kustomize(self) -> bool:
        """Whether it asks for a Kustomize, whose first build takes longer than a block may."""
        return "kustomize" in self.values("with")


def blocks_of(page: Path) -> list[Block]:
    """All ```sh blocks of a page, in their order.

    Raises:
        ValueError: a mark that there is not, one without its value, or one with no block below it.
    """
    return list(_blocks(page.name, page.read_text().splitlines()))


def _blocks(name: str, lines: list[str]) -> Iterator[Block]:
    opened: int | None = None
    info = ""
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if fence and opened is None:
            opened, info = number, fence[2].strip()
        elif fence and opened is not None and not fence[2].strip():
            if info == "sh":
                marks = _marks_above(name, lines, opened)
                inside = (one.removeprefix(fence[1]) for one in lines[opened + 1 : number])
                yield Block(f"{name}:{opened + 1}", "\n".join(inside) + "\n", marks)
            opened = None
        elif opened is None and MARK.match(line) and not _leads_to_block(lines, number):
            raise ValueError(f"{name}:{number + 1}: no ```sh block right below {line.strip()}")


def _leads_to_block(lines: list[str], number: int) -> bool:
    below = next((line for line in lines[number:] if not MARK.match(line)), "")
    return below.strip() == "```sh"


def _marks_above(name: str, lines: list[str], fence: int) -> tuple[tuple[str, str], ...]:
    above = takewhile(bool, map(MARK.match, reversed(lines[:fence])))
    marks = [(found[1], found[2]) for found in above if found][::-1]
    for kind, value in marks:
        known = kind in KINDS and (kind != "with" or value in SERVERS)
        if not known or not value:
            raise ValueError(f"{name}:{fence + 1}: <!-- {kind}: {value} --> says nothing")
    return tuple(marks)

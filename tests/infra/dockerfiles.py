"""Dockerfiles read, and done without a container engine: in a folder that stands for the root."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path, PurePosixPath

import yaml

_CONTINUED = re.compile(r"\\\n(?:\s*#.*\n)*\s*")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_MOUNT = re.compile(r"--mount=\S+\s+")
_COPY = re.compile(r"(?:--from=(?P<stage>\S+)\s+)?(?P<sources>.+)\s(?P<target>\S+)")


@dataclass(frozen=True)
class Instruction:
    """One instruction of a stage, such as `RUN` and what follows it."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The exec form, a list in JSON."""
        found: list[str] = yaml.safe_load(self.text)
        return found

    @property
    def copied(self) -> tuple[str | None, list[str], str]:
        """Of a COPY: the stage or image, the sources and the target."""
        match = _COPY.fullmatch(self.text)
        assert match, self.text
        return match["stage"], match["sources"].split(), match["target"]


@dataclass
class Stage:
    """From a FROM to the next."""

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[Instruction]:
        """Instructions of that name, in order."""
        return [one for one in self.instructions if one.name == name]


class Dockerfile:
    """A Dockerfile's stages, with the defaults of its arguments put in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text("utf-8")

    @cached_property
    def arguments(self) -> dict[str, str]:
        """Defaults of the arguments before the first stage."""
        return dict(re.findall(r"^ARG (\w+)=(\S+)$", self.text, re.MULTILINE))

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """By name, in order."""
        found: dict[str, Stage] = {}
        for instruction in self._instructions():
            if instruction.name == "FROM":
                base, _, name = instruction.text.partition(" AS ")
                found[name] = Stage(name, base)
            elif found:
                next(reversed(found.values())).instructions.append(instruction)
        return found

    def _instructions(self) -> Iterator[Instruction]:
        lines = (line for line in self.text.splitlines() if not line.startswith("#"))
        for line in _CONTINUED.sub(" ", "\n".join(lines)).splitlines():
            name, _, text = line.partition(" ")
            if text:
                yield Instruction(name, _VARIABLE.sub(self._value, text.strip()))

    def _value(self, match: re.Match[str]) -> str:
        return self.arguments.get(match[1], match[0])

    def lineage(self, name: str) -> list[Stage]:
        """The stages that a stage is built on, the oldest first, and the stage."""
        stage = self.stages[name]
        return [*(self.lineage(stage.base) if stage.base in self.stages else []), stage]

    def last(self, stage: str, name: str) -> Instruction:
        """The instruction of that name that holds for a stage's image."""
        return [one for each in self.lineage(stage) for one in each.all(name)][-1]

    def environment(self, stage: str) -> dict[str, str]:
        """What ENV sets in a stage's image."""
        found: dict[str, str] = {}
        for each in self.lineage(stage):
            for one in each.all("ENV"):
                found |= dict(pair.split("=", 1) for pair in shlex.split(one.text))
        return found


class Context:
    """A build context: the files of a folder that an ignore file lets in."""

    def __init__(self, root: Path, ignore: Path) -> None:
        self.root = root
        lines = ignore.read_text("utf-8").splitlines()
        self.rules = [line for line in lines if line and not line.startswith("#")]

    def has(self, path: str) -> bool:
        """Whether a path gets in: the last rule that fits it, or a folder above it, decides."""
        above = [path, *(str(one) for one in PurePosixPath(path).parents if str(one) != ".")]
        let_in = True
        for rule in self.rules:
            pattern = rule.removeprefix("!")
            if any(_fits(one, pattern) for one in above):
                let_in = rule.startswith("!")
        return let_in

    def copy(self, source: str, target: Path) -> None:
        """Put a file, or a folder's files, where COPY would."""
        for path in [self.root / source, *sorted((self.root / source).rglob("*"))]:
            name = path.relative_to(self.root)
            if path.is_file() and self.has(str(name)):
                into = target / path.relative_to(self.root / source)
                into = into if path != self.root / source else target / path.name
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, into)


def _fits(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch(PurePosixPath(path).name, pattern[3:])
    return path.count("/") == pattern.count("/") and fnmatch(path, pattern)


@dataclass(frozen=True)
class Build:
    """Stages done in one folder: all paths that begin with one of `FOLDERS` lie in it."""

    FOLDERS = ("opt", "source", "wheels", "models", "config")
    dockerfile: Dockerfile
    context: Context
    root: Path
    environment: dict[str, str]
    """Beside what the stages set; wins."""

    def place(self, text: str) -> str:
        """A text with the image's folders as this machine's."""
        folders = "|".join(self.FOLDERS)
        return re.sub(rf"(?<![\w.)}}/-])/({folders})\b", rf"{self.root}/\1", text)

    def do(self, *stages: str) -> None:
        """Do what stages say beyond those that they are built on."""
        for name in stages:
            directory = Path(self.place(self.directory(name)))
            directory.mkdir(parents=True, exist_ok=True)
            for one in self.dockerfile.stages[name].instructions:
                if one.name == "COPY":
                    self._copy(one, directory)
                elif one.name == "RUN":
                    self._run(one, name, directory)

    def directory(self, stage: str) -> str:
        """The working folder, as the image names it."""
        return self.dockerfile.last(stage, "WORKDIR").text

    def _copy(self, one: Instruction, directory: Path) -> None:
        stage, sources, target = one.copied
        if stage is None:
            into = directory / self.place(target)
            for source in sources:
                # A single folder's files go into the target, which is named after it.
                self.context.copy(source, into)

    def _run(self, one: Instruction, stage: str, directory: Path) -> None:
        command = self.place(_MOUNT.sub("", one.text))
        settings = {k: self.place(v) for k, v in self.dockerfile.environment(stage).items()}
        subprocess.run(
            ["sh", "-euc", command],
            cwd=directory,
            env=os.environ | settings | self.environment,
            check=True,
            capture_output=True,
            text=True,
        )

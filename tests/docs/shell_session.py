"""A shell in a temporary folder that a page's blocks are typed into, one after another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.shell_blocks import Block

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "linnaeus": "from linnaeus.cli import main\n\nmain()\n",
    "pictures": "import sys\n\nfrom tests.docs.pictures import main\n\nmain(*sys.argv[1:])\n",
}
"""What blocks find first on the PATH: the code is this checkout's."""
CHECKOUT = ("infra", "pyproject.toml", "requirements")
"""What commands that are typed in a checkout find there: links, so that nothing is copied."""
FOREIGN = ("AWS_", "GOOGLE_", "AZURE_", "LINNAEUS_", "OTEL_")


class BlockError(AssertionError):
    """A block ended badly or took too long."""


@dataclass
class Session:
    """Exported variables and the folder carry over from block to block, as in a person's shell."""

    folder: Path
    block_seconds: float = 120
    environment: dict[str, str] = field(default_factory=dict)
    """Set for all blocks from now on."""

    def __post_init__(self) -> None:
        self._groups: list[int] = []
        self._state = self.folder / "shell"
        self._here = self.folder / "here"
        for path in (self._here, self.folder / "bin", self.folder / "home"):
            path.mkdir(parents=True)
        for name, code in PROGRAMS.items():
            program = self.folder / "bin" / name
            program.write_text(f"#!{sys.executable}\n{code}")
            program.chmod(0o755)
        for name in CHECKOUT:
            (self._here / name).symlink_to(ROOT / name)
        self._state.write_text(f"cd '{self._here}'\n")

    def close(self) -> None:
        """Stop what blocks left running in the background."""
        for group in self._groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    def run(self, block: Block) -> str:
        """Type a block, and before it what its marks want run; returns all that was printed.

        Raises:
            BlockError: a command did, or the block took too long.
        """
        hidden = "".join(f"{command}\n" for command in block.values("run"))
        return self._type(hidden + block.commands, block.place)

    def _type(self, commands: str, place: str) -> str:
        script = self.folder / "script"
        script.write_text(
            f". '{self._state}'\nset -eu -o pipefail\n{commands}"
            f"{{ export -p; printf 'cd %q\\n' \"$PWD\"; }} > '{self._state}'\n"
        )
        output = self.folder / "output"  # no pipe, which programs in the background would hold
        with output.open("wb") as sink:
            process = subprocess.Popen(
                ["bash", str(script)],
                env=self._variables(),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._groups.append(process.pid)
        said = output.read_text
        try:
            status = process.wait(self.block_seconds)
        except subprocess.TimeoutExpired:
            limit = f"{self.block_seconds:g} s"
            raise BlockError(f"{place}: not done in {limit}\n{commands}\n{said()}") from None
        if status != 0:
            raise BlockError(f"{place}: exit status {status}\n{commands}\n{said()}")
        return said()

    def _variables(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
        return {
            **kept,
            "PATH": os.pathsep.join(
                [str(self.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
            ),
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.folder / "home"),
            **self.environment,
        }

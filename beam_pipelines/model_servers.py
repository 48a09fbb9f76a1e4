"""The model server that scoring runs ask: the one that was named, or one that is started for them.

Nothing is asked of a server that sees the model's golden images otherwise than this machine.
"""

from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from linnaeus.models import Model
from linnaeus.models import load as load_golden
from linnaeus.planning import RunSpec
from linnaeus.progress import Progress, count_text
from linnaeus.storage import Folder
from linnaeus.worker import Worker

if TYPE_CHECKING:
    from serving.client import ScoringClient


@dataclass(frozen=True)
class ServerChoice:
    """Which server is asked, and whether it is checked first."""

    server: str | None = None
    """`host:port`; None starts the embedded server."""
    skew_gate: bool = True
    engine: str = "auto"
    """Of this machine, which the server's answers are held against."""


@dataclass
class ModelServer:
    """One server for all runs of a command, found or started when the first needs it."""

    workspace: Folder
    model: Model
    choice: ServerChoice
    progress: Progress
    started: ExitStack
    """Closes what was started."""
    address: str = field(default="", init=False)
    """Where it is, once it was reached."""

    def reach(self, run: RunSpec) -> str:
        """Start the embedded server, or find the one that was named, and check it; once.

        Raises:
            ServingError: it does not answer, or does not serve the model.
            GateFailed: it says other things of the golden images than this machine.
        """
        if not self.address:
            address = self.choice.server or self._start()
            self._check(address, run)
            self.address = address
        return self.address

    def _start(self) -> str:
        from serving.local import start_server

        with self.progress.step("Start model server", None) as step:
            server = start_server(self.workspace.uri, self.model.name, self.model.version)
            address = self.started.enter_context(server)
            step.note(f"{self.model.name}:{self.model.version} served on {address}")
        return address

    def _check(self, address: str, run: RunSpec) -> None:
        from serving.client import ScoringClient

        with ScoringClient(address) as client:
            client.resolve_version(self.model.name, self.model.version)
            if self.choice.skew_gate:
                self._refuse_skew(address, run, client)

    def _refuse_skew(self, address: str, run: RunSpec, client: "ScoringClient") -> None:
        from serving.client import skew

        golden = load_golden(self.workspace, self.model)
        worker = Worker(self.workspace, run, self.choice.engine)
        with closing(worker), self.progress.step("Compare golden images", len(golden)) as step:
            served = skew.Served(client, self.model)
            comparisons = skew.compare(served, golden, run.payload, worker)
            skew.refuse_skew(address, self.model, comparisons)
            step.update(len(golden))
            step.note(f"worker and server agree about {count_text(len(golden), 'golden images')}")

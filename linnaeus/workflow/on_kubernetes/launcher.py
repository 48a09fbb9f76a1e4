"""Runs a workflow whose work is done by many pods: the launcher of components/sliced.

python -m linnaeus.workflow.on_kubernetes.launcher /etc/linnaeus/nightly.toml --id ID --slices 16

What is to do is frozen here, done by slices in Jobs, and gated and committed here again, by the
commands that a person would type. Any pod may die: the run's next pod joins what it left.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from linnaeus.errors import ConfigurationError, LinnaeusError
from linnaeus.plain_text import one_line
from linnaeus.workflow.on_kubernetes.cluster import Cluster, JobRequest

EMBED, TRAIN, SCORE = "linnaeus-embed-slices", "linnaeus-train", "linnaeus-score-slices"
"""CronJobs that are never due: templates of Jobs."""
LINNAEUS = (sys.executable, "-c", "from linnaeus.cli import main; main()")

Run = Callable[[Sequence[str]], str]


class CommandFailed(Exception):  # noqa: N818 - what is the case
    """A command said why, and ended with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def linnaeus(arguments: Sequence[str]) -> str:
    """What the command says on standard output; its errors are this process's.

    Raises:
        CommandFailed: it ended badly.
    """
    ended = subprocess.run([*LINNAEUS, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        sys.stdout.write(ended.stdout)
        raise CommandFailed(ended.returncode)
    return ended.stdout


@dataclass(frozen=True)
class SlicedWorkflowRun:
    """One run of one workflow file."""

    cluster: Cluster
    workflow: str
    id: str
    slices: int
    run: Run = field(default=linnaeus)

    def go(self) -> None:
        """Do all steps; the report comes in any case.

        Raises:
            CommandFailed: a step failed, or a gate refused.
            LinnaeusError: the cluster does not do as requested.
        """
        try:
            self._sliced("embed", EMBED)
            self._train()
            self._sliced("score", SCORE)
        except (CommandFailed, LinnaeusError):
            with suppress(CommandFailed):  # it says no more than what went wrong before
                self._say(self._command("--only", "report"))
            raise
        self._say(self._command("--only", "report"))

    def _sliced(self, step: str, template: str) -> None:
        frozen = json.loads(self._command("--freeze", step, "--slices", str(self.slices), "--json"))
        if count := frozen["slices"]:
            environment = {"PLAN": frozen["plan"], "LINNAEUS_SLICES": str(count)}
            self._say(f"{step}: {frozen['objects']} objects in {count} slices")
            request = JobRequest(template, f"{self.id}-{step}", environment, count)
            if not self._job(request):
                self._say(f"{step}: slices failed; what they left undone is done here")
        self._say(self._command("--only", step))

    def _train(self) -> None:
        request = JobRequest(TRAIN, f"{self.id}-train", {"WORKFLOW_RUN": self.id})
        if not self._job(request):
            self._say(f"train: job/{request.name} failed; its log says why")
            raise CommandFailed(1)

    def _job(self, request: JobRequest) -> bool:
        # The Job that this pod is of has the run's name, unless a person chose another.
        owned = replace(request, owner=self.cluster.job(self.id))
        return self.cluster.wait(self.cluster.start(owned))

    def _command(self, *arguments: str) -> str:
        return self.run(["run", self.workflow, "--id", self.id, *arguments])

    def _say(self, text: str) -> None:
        if text.strip():
            print(text.rstrip("\n"), flush=True)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; what is none of them prints the usage and ends the process."""
    parser = argparse.ArgumentParser(prog="linnaeus.workflow.on_kubernetes.launcher")
    parser.add_argument("workflow", help="the workflow file")
    parser.add_argument("--id", required=True, help="name of the run, and of its Job")
    parser.add_argument("--slices", type=int, default=16, help="most pods of a Job")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a program.

    Returns:
        0 if the run is done, else the exit status of `linnaeus run`.
    """
    options = parse(argv)
    try:
        SlicedWorkflowRun(Cluster.around(), options.workflow, options.id, options.slices).go()
    except CommandFailed as failed:
        return failed.status
    except LinnaeusError as error:
        print(one_line(error), file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

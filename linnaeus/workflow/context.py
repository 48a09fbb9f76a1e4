"""What every step of a workflow run works with, and what it returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from linnaeus import manifests, models
from linnaeus.errors import ConfigurationError, GateFailed
from linnaeus.manifests import Manifest
from linnaeus.models import Model
from linnaeus.progress import Progress
from linnaeus.storage import Folder
from linnaeus.workflow.file.config import Workflow
from linnaeus.workflow.workflow_run import StepName, WorkflowRun


@dataclass
class Context:
    """A workflow run under way: its record grows with every step."""

    workspace: Folder
    workflow: Workflow
    run: WorkflowRun
    progress: Progress
    unexpected: Callable[[Exception], None] = lambda _: None
    """Called with each error that no step expected; the record has one line of it."""

    def facts(self, step: StepName) -> Mapping[str, Any]:
        """What the record says of a step that was done, here or by an earlier command.

        Raises:
            ConfigurationError: the run has not come to that step.
        """
        done = self.run.step(step)
        if done is None:
            raise ConfigurationError(
                f"run {self.run.id} of {self.run.workflow} has no step {step!r} in "
                f"{self.workspace.uri} yet: run it with --only {step} first"
            )
        return done.facts

    @property
    def manifest(self) -> Manifest:
        """The list of images that the run goes by."""
        return manifests.describe(self.workspace, self.facts("manifest")["manifest_id"])

    @property
    def labelled_manifest(self) -> Manifest:
        """The list of images that models are trained on; often the same."""
        return manifests.describe(self.workspace, self.facts("manifest")["labelled_manifest_id"])

    @property
    def current_model(self) -> Model | None:
        """The newest version that is published, if there is one."""
        return models.find_newest(self.workspace, self.workflow.model.name)


@dataclass(frozen=True)
class Outcome:
    """What became of a step that went well."""

    line: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    status: Literal["done", "skipped"] = "done"


Work = Callable[[Context], Outcome]


def skipped(line: str, **facts: Any) -> Outcome:
    """There was nothing to do."""
    return Outcome(line, facts, "skipped")


class Refused(GateFailed):
    """A gate of the workflow file refused; the step's facts are kept, too."""

    def __init__(self, message: str, facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.facts = facts or {}

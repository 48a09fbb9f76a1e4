"""Frozen graphs of a model while its head is trained."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from linnaeus.models import ModelBackbone
from linnaeus.signatures import SCORES
from linnaeus.storage import join, normalise
from linnaeus.training.drop_in import outputs as drop_in_outputs
from linnaeus.training.drop_in.programs import Log
from linnaeus.training.evaluation.decisions import DecisionRule
from linnaeus.training.exporting import frozen_graph
from linnaeus.training.exporting.float_model import FloatModel
from linnaeus.training.exporting.signatures import Classifier
from linnaeus.training.heads.head import Dense, Head


@dataclass(frozen=True)
class IntermediateGraphs:
    """Writes `intermediate_<step>.pb` every so many steps."""

    folder: str
    every_steps: int
    output: str
    """The name of the last node."""
    saved_backbone: Path
    backbone: ModelBackbone
    log: Log

    def on_step(self, step: int, head: Callable[[], Head]) -> None:
        """Write the graph where it is its turn."""
        if step % self.every_steps == 0:
            to = join(normalise(self.folder), f"intermediate_{step}.pb")
            self.log.info(f"Save intermediate result to : {to}")
            drop_in_outputs.write_file(self.graph(head()), to)

    def graph(self, head: Head) -> bytes:
        """The frozen graph of backbone and head; its labels are in a file of their own."""
        last = head.layers[-1]
        assert isinstance(last, Dense)
        positions = tuple(str(position) for position in range(len(last.bias)))
        rule = DecisionRule(positions)
        classifier = Classifier(self.saved_backbone, self.backbone, head, rule)
        size = self.backbone.height, self.backbone.width
        model = FloatModel(lambda pixels: classifier.pixels(pixels)[SCORES], classifier, size)
        return frozen_graph.freeze(model, self.output)

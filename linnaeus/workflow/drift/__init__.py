"""Drift: how far a workflow run's images are from those that the model was trained on.

May import `training.data`, and what lies below `training`.
"""

from linnaeus.workflow.drift.measures import EmbeddingDrift, LabelDrift, Level, Mover
from linnaeus.workflow.drift.measuring import Drift, of_scoring_run

__all__ = ["Drift", "EmbeddingDrift", "LabelDrift", "Level", "Mover", "of_scoring_run"]

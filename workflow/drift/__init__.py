"""Drift: how far a night's images are from those that the model was trained on."""

from workflow.drift.measures import EmbeddingDrift, LabelDrift, Level, Mover
from workflow.drift.of_night import Drift, of_night

__all__ = ["Drift", "EmbeddingDrift", "LabelDrift", "Level", "Mover", "of_night"]

"""Heads, fine-tuning, evaluation and export; beside them the programs of earlier systems.

May import `jobs`, and what lies below it; no pipeline and no server. Names its modules alone, since
some load TensorFlow.
"""

__all__ = ["comparison", "config", "evaluate", "labelling", "monitoring", "train", "training_run"]

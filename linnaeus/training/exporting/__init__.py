"""A trained model as servers and programs read it: a SavedModel or a frozen graph.

May import `training.evaluation` and `training.heads`, and what lies below `training`. Names its
modules alone, since most load TensorFlow.
"""

__all__ = [
    "export",
    "float_model",
    "frozen_graph",
    "intermediate_graphs",
    "publication",
    "published",
]

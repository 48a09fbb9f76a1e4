"""What runs a backbone's network: one small interface over OpenVINO, LiteRT and TensorFlow.

May import `backbones` and `tables`, and what lies below.
"""

from linnaeus.engines.agreement import Agreement, agreement
from linnaeus.engines.engine import Engine, open_engine

__all__ = ["Agreement", "Engine", "agreement", "open_engine"]

"""How good a head is: its calibration, thresholds, metrics and mistakes.

May import `training.data` and `training.heads`, and what lies below `training`.
"""

__all__ = ["assessment", "calibration", "decisions", "held_out_predictions", "metrics"]

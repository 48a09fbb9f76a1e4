"""The page to look at: one self-contained HTML file about a training or a scoring run."""

from linnaeus.report.building import build, save

__all__ = ["build", "save"]

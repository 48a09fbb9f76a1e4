"""The page to look at: one self-contained HTML file about a training or a scoring run.

May import `runs`, and what lies below.
"""

from linnaeus.report.building import save
from linnaeus.report.page import render

__all__ = ["render", "save"]

"""What is said now of each object: the table, its changes, and plain files.

May import `engines`, `models`, `planning` and `manifests`, and what lies below.
"""

from linnaeus.labels import churn
from linnaeus.labels.churn import Churn
from linnaeus.labels.files import LabelFiles, written_by
from linnaeus.labels.table import LabelsTable, number_of

__all__ = ["Churn", "LabelFiles", "LabelsTable", "churn", "number_of", "written_by"]

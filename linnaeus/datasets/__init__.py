"""Labelled pictures to try everything on, put into a folder as a bucket would hold them.

Imports the ground floor alone.
"""

from linnaeus.datasets.catalogue import DATASETS, Dataset
from linnaeus.datasets.placing import place

__all__ = ["DATASETS", "Dataset", "place"]

"""Labelled pictures to try everything on, put into a folder as a bucket would hold them."""

from linnaeus.datasets.catalogue import DATASETS, Dataset
from linnaeus.datasets.placing import Sample, place

__all__ = ["DATASETS", "Dataset", "Sample", "place"]

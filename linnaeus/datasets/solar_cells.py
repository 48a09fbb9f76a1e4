"""The 2,624 solar cells of the PyPI package elpv-dataset (Deitsch et al., Solar Energy 2019).

Experts gave each electroluminescence picture a probability of a defect: 0, 1/3, 2/3 or 1. As in
the paper, a cell is defective from 2/3 up and a quarter is held out; pictures that the experts
were unsure of count half.
"""

from collections.abc import Iterator
from importlib import resources

from linnaeus.datasets.placing import Sample
from linnaeus.datasets.splitting import stratified_test_rows
from linnaeus.errors import ConfigurationError


def samples() -> Iterator[Sample]:
    """Every cell, in the package's order.

    Raises:
        ConfigurationError: If the package is not installed.
    """
    try:
        data = resources.files("elpv_dataset") / "data"
    except ModuleNotFoundError as e:
        raise ConfigurationError(
            "the solar cells need the package elpv-dataset: pip install 'linnaeus[demo]'"
        ) from e
    rows = [line.split() for line in (data / "labels.csv").read_text().splitlines()]
    cells = [(path, float(probability)) for path, probability, _ in rows]
    test = stratified_test_rows([probability for _, probability in cells])
    for row, (path, probability) in enumerate(cells):
        yield Sample(
            name=path,
            label="defective" if probability > 0.5 else "functional",
            data=(data / path).read_bytes(),
            split="test" if row in test else "train",
            weight=1.0 if probability in (0.0, 1.0) else 0.5,
        )

"""scikit-learn's 1,797 handwritten digits, as PNG files of 8x8 pixels."""

from collections.abc import Iterator

from linnaeus.datasets.pictures import png
from linnaeus.datasets.placing import Sample
from linnaeus.datasets.splitting import stratified_test_rows
from linnaeus.errors import ConfigurationError

WHITE = 16
"""The data set's brightest grey value."""


def samples() -> Iterator[Sample]:
    """Every digit, in scikit-learn's order.

    Raises:
        ConfigurationError: If scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as e:
        raise ConfigurationError(
            "the digits need scikit-learn: pip install 'linnaeus[demo]'"
        ) from e
    digits = load_digits()
    labels = [str(label) for label in digits.target]
    test = stratified_test_rows(labels)
    for row, (label, values) in enumerate(zip(labels, digits.images, strict=True)):
        yield Sample(
            name=f"{label}/{row:04d}.png",
            label=label,
            data=png((values * (255 / WHITE)).round().astype("uint8")),
            split="test" if row in test else "train",
        )

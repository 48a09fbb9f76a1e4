"""Weights under which every class counts the same, however many images it has."""

from dataclasses import replace

import numpy as np

from linnaeus.choices import Balance
from linnaeus.errors import ConfigurationError
from linnaeus.training.data.examples import Examples, LabelledEmbeddings
from linnaeus.training.heads.head import Vector


def balanced(examples: Examples, classes: int) -> Examples:
    """The examples with weights of which every class has an equal sum; all of them sum to the same.

    A class of no weight stays so.

    Raises:
        ConfigurationError: If images have several labels.
    """
    return _scaled(examples, class_factors(examples, classes))


def class_factors(examples: Examples, classes: int) -> Vector:
    """What to multiply the weights of each class by, [C]; 1 for a class of no weight."""
    if examples.targets.ndim == 2:
        raise ConfigurationError(
            "balanced class weights need one label an image: leave the class weights at 'none' "
            "where images have several, or give a weight column in the manifest"
        )
    weight = np.bincount(examples.targets, examples.weights, classes)
    there = weight > 0
    factors = np.ones(classes, np.float32)
    factors[there] = weight.sum() / there.sum() / weight[there]
    return factors


def weighed(data: LabelledEmbeddings, how: Balance) -> LabelledEmbeddings:
    """The data as it is or balanced, as the configuration has it; raises what `balance` does."""
    return balance(data) if how == "balanced" else data


def balance(data: LabelledEmbeddings) -> LabelledEmbeddings:
    """The data with training and validation images weighed by what balances the training images.

    So heads are chosen by what they are fitted to. The test images keep their weights.

    Raises:
        ConfigurationError: If images have several labels.
    """
    factors = class_factors(data.examples("train"), len(data.labels))
    weights = _scaled(data.rows, factors).weights
    test = data.slices["test"]
    weights[test] = data.rows.weights[test]
    return replace(data, rows=replace(data.rows, weights=weights))


def _scaled(examples: Examples, factors: Vector) -> Examples:
    return replace(examples, weights=examples.weights * factors[examples.targets])

r"""Two numbers for how far a workflow run's images are from the training images, and their levels.

Embeddings: the Fréchet distance between normal distributions of independent dimensions,
$d^2 = \sum_i (\mu_i - \mu'_i)^2 + (\sigma_i - \sigma'_i)^2$ (Dowson and Landau, "The Fréchet
distance between multivariate normal distributions", Journal of Multivariate Analysis 12, 1982;
with all covariances it is the FID of Heusel et al., 2017), divided by the root mean square distance
of the training images from their mean, $\sqrt{\sum_i \sigma_i^2}$. So 0.5 says that the
cloud of images has moved, or grown, by half its own radius. The levels are the small and the
medium effect of Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988.

Labels: the population stability index $\sum_l (p_l - q_l) \ln(p_l / q_l)$ over the shares of
labels, with its usual levels 0.1 and 0.25 (Siddiqi, "Credit Risk Scorecards", 2006), and the total
variation $\frac12 \sum_l |p_l - q_l|$, the least share of labels that would have to be others.

Of both, what samples so small show by chance is taken off before anything is called drift: of the
index that is (L - 1)(1/n + 1/m) (Yurdakul and Naranjo, "Statistical properties of the population
stability index", Journal of Risk Model Validation 14, 2020).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Level = Literal["none", "some", "large", "too few"]

LEAST_IMAGES = 50
"""Fewer say nothing of a distribution."""
EMBEDDING_LEVELS = (0.2, 0.5)
LABEL_LEVELS = (0.1, 0.25)
MOVERS = 3
_PSEUDO_COUNT = 0.5
"""Added to each label's images, since the index has no value for a label without any."""


@dataclass(frozen=True)
class Moments:
    """Of some vectors: how many, each dimension's mean, and its variance about it."""

    count: int
    mean: NDArray[np.float64]
    """[D]"""
    variance: NDArray[np.float64]
    """[D], of the population"""


def moments(blocks: Iterable[NDArray[np.float32]]) -> Moments:
    """Moments of the rows of all blocks [n, D], of which one is looked at at a time.

    Blocks are merged as by Chan, Golub and LeVeque (1983), which loses no digits where a mean is
    large beside its deviation. Rows that are not finite are left out: one would make all of it so,
    and no drift of it.
    """
    count, mean, squares = 0, np.zeros(0), np.zeros(0)
    for block in blocks:
        rows = block[np.isfinite(block).all(axis=1)].astype(np.float64)
        if not len(rows):
            continue
        block_mean = rows.mean(axis=0)
        block_squares = np.square(rows - block_mean).sum(axis=0)
        if not count:
            count, mean, squares = len(rows), block_mean, block_squares
            continue
        total, step = count + len(rows), block_mean - mean
        squares = squares + block_squares + np.square(step) * (count * len(rows) / total)
        mean = mean + step * (len(rows) / total)
        count = total
    return Moments(count, mean, squares / max(count, 1))


@dataclass(frozen=True)
class EmbeddingDrift:
    """How far the run's embeddings are from the training images'."""

    images: int
    """Of the run, that were looked at: all, or a sample."""
    reference_images: int
    distance: float | None
    """In radii of the training images; None where there are too few."""
    by_chance: float | None
    """What as many images of the same kind would show."""
    drift: float | None
    """The distance without what is by chance."""
    level: Level


def embedding_drift(scored: Moments, reference: Moments) -> EmbeddingDrift:
    """The Fréchet distance between a workflow run's and the training images' embeddings."""
    few = EmbeddingDrift(scored.count, reference.count, None, None, None, "too few")
    if min(scored.count, reference.count) < LEAST_IMAGES:
        return few
    radius_squared = float(reference.variance.sum())
    if not radius_squared:
        return few  # the training images are one
    shift = np.square(scored.mean - reference.mean).sum()
    growth = np.square(np.sqrt(scored.variance) - np.sqrt(reference.variance)).sum()
    squared = float(shift + growth) / radius_squared
    # Of a normal distribution a sample's mean varies by 1/n, its deviation by 1/2n.
    chance_squared = 1.5 * (1 / scored.count + 1 / reference.count)
    drift = max(0.0, squared - chance_squared) ** 0.5
    return EmbeddingDrift(
        scored.count,
        reference.count,
        squared**0.5,
        chance_squared**0.5,
        drift,
        _level(drift, EMBEDDING_LEVELS),
    )


@dataclass(frozen=True)
class Mover:
    """A label whose share changed."""

    label: str
    share: float
    """Of the run's labels."""
    reference_share: float
    """Of the training images' labels."""


@dataclass(frozen=True)
class LabelDrift:
    """How far the shares of the run's labels are from those of the training images."""

    images: int
    """Labels that were given in this run."""
    reference_images: int
    stability_index: float | None
    """Population stability index; None where there are too few."""
    by_chance: float | None
    drift: float | None
    """The index without what is by chance."""
    total_variation: float | None
    level: Level
    movers: tuple[Mover, ...] = ()
    """The labels that changed most, the largest first."""


def label_drift(scored: Mapping[str, int], reference: Mapping[str, int]) -> LabelDrift:
    """The stability index of labels, by counts; labels of the run alone count, too."""
    labels = sorted({*scored, *reference})
    now, then = (np.array([c.get(name, 0) for name in labels], float) for c in (scored, reference))
    given, trained = int(now.sum()), int(then.sum())
    few = LabelDrift(given, trained, None, None, None, None, "too few")
    if min(given, trained) < LEAST_IMAGES:
        return few
    by_chance = (len(labels) - 1) * (1 / given + 1 / trained)
    if by_chance > LABEL_LEVELS[0]:
        return few
    p, q = _smoothed(now), _smoothed(then)
    index = float(((p - q) * np.log(p / q)).sum())
    drift = max(0.0, index - by_chance)
    shares, shares_then = now / given, then / trained
    return LabelDrift(
        given,
        trained,
        index,
        by_chance,
        drift,
        float(np.abs(shares - shares_then).sum() / 2),
        _level(drift, LABEL_LEVELS),
        _movers(labels, shares, shares_then),
    )


def _smoothed(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return (counts + _PSEUDO_COUNT) / float((counts + _PSEUDO_COUNT).sum())


def _movers(
    labels: list[str], now: NDArray[np.float64], then: NDArray[np.float64]
) -> tuple[Mover, ...]:
    order = np.argsort(-np.abs(now - then), kind="stable")[:MOVERS]
    return tuple(
        Mover(labels[i], float(now[i]), float(then[i])) for i in order if now[i] != then[i]
    )


def _level(drift: float, levels: tuple[float, float]) -> Level:
    some, large = levels
    if drift < some:
        return "none"
    return "some" if drift < large else "large"

"""How good scores are: accuracy with its interval, each class, confusion, loss, calibration.

Pure numpy. A measure with nothing to divide by is 0.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linnaeus.errors import ConfigurationError, GateFailed
from linnaeus.training.evaluation.confusion import confusion_matrix, precision_recall_f1
from linnaeus.training.evaluation.decisions import TOP_K, DecisionRule, Scores, Task
from linnaeus.training.evaluation.ranking import average_precision, top_k_accuracy
from linnaeus.training.evaluation.reliability import Reliability, reliability

Z_95 = 1.959963984540054
"""The standard normal's 97.5 % quantile."""


@dataclass(frozen=True)
class ClassMetrics:
    """One class against all others."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    """Images that have it."""
    average_precision: float | None = None
    """Of the ranking by its score; multi only, as is the next."""
    threshold: float | None = None
    """From which score on it counts as predicted."""


@dataclass(frozen=True)
class Averages:
    """Over the classes that some image has."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class TopK:
    """How often a true label is among the `k` best."""

    k: int
    accuracy: float


@dataclass(frozen=True)
class Abstention:
    """What became of the images because the model may say `unknown`."""

    threshold: float
    """Confidence below which it does."""
    unknown: int
    """Images for which it does."""
    coverage: float
    """Share of the others."""
    precision: float
    """Share of right labels among the others."""


@dataclass(frozen=True)
class Evaluation:
    """What a classifier did on images whose labels are known, every image counting once."""

    task: Task
    images: int
    accuracy: float
    """single: share of images whose best label is right, `unknown` or not; multi: share of images
    of which exactly the right labels reach their thresholds"""
    accuracy_interval: tuple[float, float]
    """Wilson's 95 % interval."""
    log_loss: float
    """Mean negative log-likelihood of the truth, in nats; multi: mean over labels, too."""
    classes: tuple[ClassMetrics, ...]
    macro: Averages
    """Means over the classes."""
    calibration: Reliability
    """single: of the best scores; multi: of every label's score of every image"""
    confusion: tuple[Any, ...]
    """single: [C, C], rows are true labels, columns the predicted ones, both in label order;
    multi: [C, 2, 2], for each label, rows whether it is true, columns whether it is predicted"""
    top_k: TopK | None = None
    """single only"""
    micro: Averages | None = None
    """multi only: of all pairs of image and label"""
    abstention: Abstention | None = None
    """single only, and only of models that may abstain"""

    def to_dict(self) -> dict[str, Any]:
        """As `linnaeus.json` and `linnaeus evaluate --json` have it."""
        fields = _without_none(asdict(self))
        classes = {c.pop("label"): _without_none(c) for c in fields.pop("classes")}
        return {
            **fields,
            "accuracy_interval": list(self.accuracy_interval),
            "calibration": {**fields["calibration"], "bins": list(fields["calibration"]["bins"])},
            "classes": classes,
            "confusion": np.asarray(self.confusion).tolist(),
        }


def evaluate_scores(scores: Scores, targets: NDArray[Any], rule: DecisionRule) -> Evaluation:
    """Evaluates probabilities [n, C], and what `rule` makes of them.

    Args:
        scores: a column a label.
        targets: single: true label ids [n]; multi: 1 where a label is true, [n, C].
        rule: of the model that gave the scores.

    Raises:
        ConfigurationError: If there are no images.
    """
    if not len(targets):
        raise ConfigurationError("there is no image to evaluate a model by")
    if rule.task == "multi":
        return _evaluate_multi(scores, targets.astype(bool), rule)
    return _evaluate_single(scores, targets, rule)


def _evaluate_single(scores: Scores, label_ids: NDArray[Any], rule: DecisionRule) -> Evaluation:
    predicted = scores.argmax(axis=1)
    right = predicted == label_ids
    confusion = confusion_matrix(label_ids, predicted, len(rule.labels))
    classes = _class_metrics(confusion, rule.labels)
    k = min(TOP_K, len(rule.labels))
    with np.errstate(divide="ignore"):
        loss = log_loss(np.log(scores), label_ids)
    return Evaluation(
        task="single",
        images=len(label_ids),
        accuracy=float(right.mean()),
        accuracy_interval=wilson_interval(int(right.sum()), len(label_ids)),
        log_loss=loss,
        classes=classes,
        macro=_macro(classes),
        calibration=reliability(scores.max(axis=1), right),
        confusion=_nested(confusion.tolist()),
        top_k=TopK(k, top_k_accuracy(scores, label_ids, k)),
        abstention=_abstention(scores, right, rule) if "abstain_below" in rule.thresholds else None,
    )


def _evaluate_multi(scores: Scores, true: NDArray[np.bool_], rule: DecisionRule) -> Evaluation:
    predicted = rule.chosen(scores)
    exact = (predicted == true).all(axis=1)
    classes = _label_metrics(scores, true, predicted, rule)
    return Evaluation(
        task="multi",
        images=len(true),
        accuracy=float(exact.mean()),
        accuracy_interval=wilson_interval(int(exact.sum()), len(true)),
        log_loss=binary_log_loss(scores, true),
        classes=classes,
        macro=_macro(classes),
        calibration=reliability(scores.ravel(), true.ravel()),
        confusion=_nested(_two_by_two(true, predicted).tolist()),
        micro=_micro(true, predicted),
    )


def _class_metrics(
    confusion: NDArray[np.int64], labels: tuple[str, ...]
) -> tuple[ClassMetrics, ...]:
    support = confusion.sum(axis=1)
    measures = precision_recall_f1(np.diag(confusion), confusion.sum(axis=0), support)
    return tuple(
        ClassMetrics(label, float(p), float(r), float(f1), int(images))
        for label, p, r, f1, images in zip(labels, *measures, support, strict=True)
    )


def _label_metrics(
    scores: Scores, true: NDArray[np.bool_], predicted: NDArray[np.bool_], rule: DecisionRule
) -> tuple[ClassMetrics, ...]:
    """Those of each label on its own, with the quality of its ranking and its threshold."""
    confusion = _two_by_two(true, predicted)
    hits, support = confusion[:, 1, 1], confusion[:, 1].sum(axis=1)
    measures = precision_recall_f1(hits, confusion[:, :, 1].sum(axis=1), support)
    ranking = [average_precision(*columns) for columns in zip(scores.T, true.T, strict=True)]
    return tuple(
        ClassMetrics(label, float(p), float(r), float(f1), int(images), ap, float(threshold))
        for label, p, r, f1, images, ap, threshold in zip(
            rule.labels, *measures, support, ranking, rule.label_thresholds, strict=True
        )
    )


def _two_by_two(true: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Each label's own confusion matrix, [C, 2, 2]."""
    pairs = zip(true.T, predicted.T, strict=True)
    return np.stack([confusion_matrix(t, p, 2) for t, p in pairs])


def _macro(classes: tuple[ClassMetrics, ...]) -> Averages:
    there = [(c.precision, c.recall, c.f1) for c in classes if c.support]
    return Averages(*(np.mean(there, axis=0).tolist() if there else (0.0, 0.0, 0.0)))


def _micro(true: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Averages:
    pairs = precision_recall_f1(
        np.array([(true & predicted).sum()]), np.array([predicted.sum()]), np.array([true.sum()])
    )
    return Averages(*pairs[:, 0].tolist())


def _abstention(scores: Scores, right: NDArray[np.bool_], rule: DecisionRule) -> Abstention:
    answered = rule.chosen(scores).any(axis=1)
    return Abstention(
        threshold=rule.abstain_below,
        unknown=int((~answered).sum()),
        coverage=float(answered.mean()),
        precision=float(right[answered].mean()) if answered.any() else 0.0,
    )


def require_accuracy(evaluation: Evaluation | None, at_least: float) -> None:
    """Refuses a model whose test accuracy is too low; None stands for an empty test split.

    Raises:
        GateFailed: If it is; the message says by how much.
        ConfigurationError: If there are no test images.
    """
    if evaluation is None:
        raise ConfigurationError(
            f"no image is in the test split, so an accuracy of {at_least:g} cannot be shown: add "
            "images, raise --testing-percentage, or do without --assert-accuracy-at-least"
        )
    missing = at_least - evaluation.accuracy
    if missing > 0:
        digits = max(3, math.ceil(-math.log10(missing)))
        raise GateFailed(
            f"test accuracy {evaluation.accuracy:.{digits}f} is {missing:.{digits}f} below the "
            f"{at_least:g} asked for (N={evaluation.images}); nothing was published"
        )


def unrepresented(evaluation: Evaluation) -> list[str]:
    """The labels that no image has, of which these metrics say nothing."""
    return [one.label for one in evaluation.classes if not one.support]


def wilson_interval(hits: int, images: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927), within [0, 1]."""
    share = hits / images
    denominator = 1 + z * z / images
    centre = (share + z * z / (2 * images)) / denominator
    half = z / denominator * math.sqrt(share * (1 - share) / images + (z / (2 * images)) ** 2)
    return max(0.0, centre - half), min(1.0, centre + half)


def log_loss(
    log_scores: NDArray[np.floating],
    label_ids: NDArray[np.integer],
    weights: NDArray[np.floating] | None = None,
) -> float:
    """(Weighted) mean of `-log_scores[i, label_ids[i]]`, in nats.

    A score of exactly 0 counts as the smallest positive float64, so that the result is finite.
    """
    of_truth = np.maximum(
        log_scores[np.arange(len(label_ids)), label_ids], math.log(np.finfo(np.float64).tiny)
    )
    mean = float(-np.average(of_truth.astype(np.float64), weights=weights))
    return mean + 0.0  # never -0.0


def binary_log_loss(
    scores: Scores, targets: NDArray[Any], weights: NDArray[np.floating] | None = None
) -> float:
    """Mean over images (weighted) and labels of each label's own log loss, in nats.

    A score is taken as no nearer to 0 or 1 than its type resolves, so that the result is finite.

    Args:
        scores: probabilities of each label, [n, C].
        targets: 1 where a label is true, else 0, [n, C].
        weights: of the images, [n].
    """
    nearest = np.finfo(scores.dtype).eps
    of_truth = np.where(targets.astype(bool), scores, 1 - scores).clip(nearest, 1 - nearest)
    return float(-np.average(np.log(of_truth).mean(axis=1), weights=weights))


def _nested(lists: list[Any]) -> tuple[Any, ...]:
    return tuple(_nested(one) if isinstance(one, list) else one for one in lists)


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}

"""Assesses a fitted head: calibrates its scores, sets its thresholds, and tests it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from linnaeus.training.config import GateConfig
from linnaeus.training.data.examples import Examples, LabelledEmbeddings
from linnaeus.training.evaluation import abstention
from linnaeus.training.evaluation.calibration import fit_temperature
from linnaeus.training.evaluation.decisions import DecisionRule, Scores, scores_of
from linnaeus.training.evaluation.held_out_predictions import held_out_predictions
from linnaeus.training.evaluation.metrics import Evaluation, evaluate_scores, require_accuracy
from linnaeus.training.heads.head import Fit, Head, with_temperature


@dataclass(frozen=True)
class Assessment:
    """The head to publish, what it predicts of an image by its scores, and how good that is."""

    head: Head
    temperature: float
    rule: DecisionRule
    evaluations: Mapping[str, Evaluation]
    """Of `validation` (by a head that was never fitted on it) and of `test`."""
    held_out_predictions: pa.Table
    """Of every validation and test picture, schema `records.HELD_OUT_PREDICTIONS`."""


def assess(fit: Fit, data: LabelledEmbeddings, gate: GateConfig) -> Assessment:
    """Calibrates and sets thresholds on validation images, then evaluates validation and test ones.

    Raises:
        GateFailed: If no confidence reaches the target precision.
        ConfigurationError: If a label is called `unknown` and the model may say so.
    """
    validation, test = data.examples("validation"), data.examples("test")
    logits = fit.validated.logits_by_block(validation.embeddings)
    temperature = fit_temperature(logits, validation.targets, validation.weights, data.task)
    head = with_temperature(fit.finish(), temperature)
    scores = {
        "validation": scores_of(logits / temperature, data.task),
        "test": scores_of(head.logits_by_block(test.embeddings), data.task),
    }
    thresholds = fit_thresholds(scores["validation"], data, validation, gate.target_precision)
    rule = DecisionRule(data.labels, data.task, thresholds)
    evaluations = {
        split: evaluate_scores(of_split, data.examples(split).targets, rule)
        for split, of_split in scores.items()
    }
    return Assessment(
        head, temperature, rule, evaluations, held_out_predictions(data, scores, rule)
    )


def fit_thresholds(
    scores: Scores,
    data: LabelledEmbeddings,
    validation: Examples,
    target_precision: float | None,
) -> dict[str, float]:
    """The thresholds of a `DecisionRule`, from validation scores [n, C]."""
    if data.task == "multi":
        abstention.refuse_unknown(data.labels)
        thresholds = abstention.fit_label_thresholds(
            scores, validation.targets, validation.weights, target_precision
        )
        return dict(zip(data.labels, thresholds.tolist(), strict=True))
    if target_precision is None:
        return {}
    abstention.refuse_unknown(data.labels)
    confidences: NDArray[np.floating] = scores.max(axis=1)
    right = scores.argmax(axis=1) == validation.targets
    threshold = abstention.fit_threshold(confidences, right, validation.weights, target_precision)
    return {"abstain_below": threshold, "target_precision": target_precision}


def pass_gate(assessment: Assessment, gate: GateConfig) -> None:
    """Refuses a model that is not accurate enough.

    Raises:
        GateFailed: If it is not; the message says by how much.
    """
    if gate.accuracy_at_least is not None:
        require_accuracy(assessment.evaluations["test"], gate.accuracy_at_least)

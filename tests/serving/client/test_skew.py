"""The skew gate's comparisons: what counts as the same answer."""

import math
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from linnaeus.errors import GateFailed
from linnaeus.models import MOST_RELATIVE, GoldenImage, Model, ModelBackbone
from serving.client.skew import (
    Comparison,
    Served,
    compare,
    of_scores,
    refuse_skew,
    relative,
)
from tests import pictures

MODEL = Model("m", 3, ("a", "b"), ModelBackbone("pixels@8", "f", 8, 8, 192))


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_differences_are_relative_to_the_largest_value():
    assert relative(vector(100, 1.0), vector(100, 1.5)) == pytest.approx(0.005)
    assert relative(vector(0, 0.25), vector(0, 0)) == 0.25
    assert relative(vector(1, 2), vector(1)) == 1


def comparison(image: str, difference: float) -> Comparison:
    return Comparison(image, "pixels", "scores", difference, MOST_RELATIVE)


def test_the_worst_differences_are_named_worst_first():
    found = [comparison(f"{n}.jpg", n * 1e-3) for n in range(7)]
    with pytest.raises(GateFailed) as refused:
        refuse_skew("host:1", MODEL, found)
    text = str(refused.value)
    assert "host:1" in text
    assert "6 of 7 golden images of m:3 sent as pixels" in text
    assert text.index("6.jpg") < text.index("5.jpg") < text.index("4.jpg")
    assert "3.jpg" not in text
    assert "\n" not in text


def test_a_difference_that_is_no_number_is_the_worst():
    found = [comparison("a.jpg", 1.0), comparison("nan.jpg", math.nan)]
    with pytest.raises(GateFailed, match=r"pixels: nan\.jpg.*; a\.jpg"):
        refuse_skew("host:1", MODEL, found)


class OtherHead:
    """A server that sees a picture as the worker does and judges it by another head."""

    def ask(self, model, version, signature, values, outputs):
        answers = {
            "embedding": vector(1, 2),
            "scores": vector(0.6, 0.4),
            "top_labels": np.array([b"a", b"b"], object),
        }
        return {output: answers[output][np.newaxis] for output in outputs}


@dataclass
class OtherNames:
    """A server whose scores are right, and whose labels may not be."""

    names: list[bytes]

    def ask(self, model, version, signature, values, outputs):
        answers = {
            "embedding": vector(1, 2),
            "scores": vector(0.9, 0.1),
            "top_labels": np.array(self.names, object),
        }
        return {output: answers[output][np.newaxis] for output in outputs}


@pytest.mark.parametrize("payload", ["embedding", "image", "pixels"])
@pytest.mark.parametrize(
    ("names", "sound"),
    [
        ([b"a", b"b"], True),
        ([b"b", b"a"], False),
        ([b"a", b"c"], False),
        ([b"a", b"a"], False),
        ([b"\xff", b"b"], False),
        ([], False),
        ([1, 0], False),
    ],
)
def test_labels_that_are_swapped_or_unknown_beside_right_scores_are_a_difference(
    payload, names, sound
):
    golden = [GoldenImage("a.jpg", pictures.jpeg(), vector(1, 2), vector(0.9, 0.1))]
    size: Any = SimpleNamespace(height=8, width=8)
    engine: Any = SimpleNamespace(embed=lambda _: vector(1, 2)[np.newaxis])
    worker: Any = SimpleNamespace(spec=size, engine=engine)
    client: Any = OtherNames(names)
    found = compare(Served(client, MODEL), golden, payload, worker)
    differing = [one.what for one in found if not one.passes]
    assert differing == ([] if sound else ["labels by their scores"])


@pytest.mark.parametrize("payload", ["image", "pixels"])
def test_another_head_that_says_the_same_label_is_told_apart(payload):
    reduced = replace(MODEL, backbone=replace(MODEL.backbone, precision="bfloat16"))
    golden = [GoldenImage("a.jpg", pictures.jpeg(), vector(1, 2), vector(0.9, 0.1))]
    worker: Any = SimpleNamespace(spec=SimpleNamespace(height=8, width=8))
    client: Any = OtherHead()
    found = compare(Served(client, reduced), golden, payload, worker)
    assert [one.what for one in found if not one.passes] == ["scores of its embedding"]


def test_what_is_within_its_bound_passes():
    refuse_skew("host:1", MODEL, [comparison("a.jpg", MOST_RELATIVE)])


def test_a_head_that_is_sure_of_everything_still_tells_its_inputs_apart():
    golden = GoldenImage("a.jpg", b"", vector(1), vector(1, 1e-20))
    assert of_scores(golden, "pixels", vector(1, 1e-20), golden.scores, 0.0).passes
    assert not of_scores(golden, "pixels", vector(1, 2e-20), golden.scores, 0.1).passes
    assert of_scores(golden, "pixels", vector(1, 1.001e-20), golden.scores, 0.01).passes


def test_each_score_has_a_bound_of_its_own_and_the_worst_is_told():
    golden = GoldenImage("a.jpg", b"", vector(1), vector(0.5, 0.25, 0.25))
    found, bounds = vector(0.5, 0.2501, 0.26), np.array([0.0, 1e-5, 0.1])
    worst = of_scores(golden, "pixels", found, golden.scores, bounds)
    assert not worst.passes
    assert (worst.difference, worst.bound) == pytest.approx((4e-4, 1e-5), rel=1e-2)
    assert of_scores(golden, "pixels", found, golden.scores, np.array([0.0, 1e-3, 0.1])).passes


@pytest.mark.parametrize("found", [vector(0.5), vector(0.5, math.nan)])
def test_scores_of_another_shape_or_that_are_no_numbers_never_pass(found):
    golden = GoldenImage("a.jpg", b"", vector(1), vector(0.5, 0.5))
    assert not of_scores(golden, "pixels", found, golden.scores, 10.0).passes

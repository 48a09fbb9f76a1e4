"""Labels name versions that answer, whatever order configurations come in."""

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

LABELS = st.dictionaries(st.sampled_from(["stable", "next"]), st.integers(1, 3))


def config(labels: dict[str, int], name: str = "m"):
    from serving.models.model_config import ModelConfig

    return ModelConfig(name, "/m", labels=labels)


def test_a_label_names_its_version_and_no_other_label_is_known():
    from serving.grpc_status import StatusError
    from serving.models.labels import assigned, resolve

    labels = assigned([config({"stable": 1})], {"m": [1, 2]})
    assert resolve(labels, "m", "stable") == 1
    for model, label in (("m", "next"), ("other", "stable")):
        with pytest.raises(StatusError) as caught:
            resolve(labels, model, label)
        assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.text == f"Unrecognized servable version label: {label}"


def test_a_label_for_a_version_that_does_not_answer_is_refused():
    from serving.grpc_status import StatusError
    from serving.models.labels import assigned

    with pytest.raises(StatusError) as caught:
        assigned([config({"stable": 1, "next": 2})], {"m": [1]})
    assert caught.value.code == grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.text == (
        "Request to assign label to version 2 of model m,"
        " which is not currently available for inference"
    )


@settings(deadline=None)
@given(LABELS, LABELS, st.sets(st.integers(1, 3)), st.booleans())
def test_labels_are_taken_exactly_if_each_names_what_answers_or_may_wait(
    before: dict, after: dict, available: set, lenient: bool
):
    from serving.grpc_status import StatusError
    from serving.models.labels import assigned

    may = {
        label
        for label, version in after.items()
        if version in available or (lenient and before.get(label) in (None, version))
    }
    try:
        labels = assigned([config(after)], {"m": available}, {"m": before} if lenient else None)
    except StatusError:
        assert may != set(after)
    else:
        assert may == set(after)
        assert labels.get("m", {}) == after

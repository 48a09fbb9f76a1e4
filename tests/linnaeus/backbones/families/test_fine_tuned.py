import dataclasses
from collections.abc import Callable

import pytest

from linnaeus.backbones import BackboneSpec, Tuning
from linnaeus.backbones.store import publish_spec
from linnaeus.errors import ConfigurationError
from linnaeus.preparation import prepare
from linnaeus.storage import Folder

SPEC = BackboneSpec(
    name="tuned:0123456789abcdef0123",
    fingerprint="0123456789abcdef0123",
    height=32,
    width=32,
    embedding_size=8,
    precision="float32",
    licence="none",
    preprocessing="",
    tuning=Tuning("efficientnet-lite0@32", {"layers": 3}),
)


def test_a_tuned_backbone_is_found_without_tensorflow_by_its_name(workspace: Folder):
    publish_spec(workspace, SPEC)
    assert prepare(workspace, SPEC.name) == SPEC


@pytest.mark.parametrize(
    "other",
    [
        lambda spec: dataclasses.replace(spec, fingerprint="ff", name=spec.name),
        lambda spec: dataclasses.replace(spec, name="efficientnet-lite0"),
        lambda spec: dataclasses.replace(spec, precision="int8"),
    ],
)
def test_what_is_no_tuned_backbone_of_that_name_is_not_found(
    workspace: Folder, other: Callable[[BackboneSpec], BackboneSpec]
):
    publish_spec(workspace, other(SPEC))
    with pytest.raises(ConfigurationError, match=r"has no backbone tuned:0123.*name the workspace"):
        prepare(workspace, SPEC.name)

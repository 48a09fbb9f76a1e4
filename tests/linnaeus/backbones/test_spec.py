import json

import pytest

from linnaeus.backbones import BackboneSpec
from linnaeus.backbones.spec import StoredFile
from linnaeus.errors import ConfigurationError

SPEC = BackboneSpec(
    name="https://example.org/module/1",
    fingerprint="0123456789abcdef0123",
    height=96,
    width=128,
    embedding_size=7,
    precision="bfloat16",
    licence="unknown",
    preprocessing="1",
    folder="01JABC",
    engines={"openvino": (StoredFile("openvino/model.xml", 12, "ab" * 32),)},
    unavailable={"litert": "an operation has no builtin"},
    agreement={"cosine_min": 0.99, "cosine_mean": 0.999, "images": 32.0},
)


def test_a_spec_survives_its_json():
    assert BackboneSpec.from_json(SPEC.to_json()) == SPEC


def test_a_damaged_spec_is_refused_with_a_remedy():
    with pytest.raises(ConfigurationError, match="prepare it again"):
        BackboneSpec.from_json(SPEC.to_json()[:-20])


def test_a_later_layout_is_refused():
    later = json.dumps({**json.loads(SPEC.to_json()), "format": 2})
    with pytest.raises(ConfigurationError, match="layout 2"):
        BackboneSpec.from_json(later)

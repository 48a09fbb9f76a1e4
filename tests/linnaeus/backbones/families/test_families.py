from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnaeus.backbones import BackboneName
from linnaeus.backbones.families import every, parse
from linnaeus.backbones.families.efficientnet_lite import EfficientNetLite
from linnaeus.backbones.families.fine_tuned import StoredTuned
from linnaeus.backbones.families.keras_applications import KerasApplication
from linnaeus.backbones.families.pixels import Pixels
from linnaeus.backbones.families.tensorflow_hub import HubModule
from linnaeus.errors import ConfigurationError

HANDLE = "https://tfhub.dev/google/imagenet/mobilenet_v2_100_224/feature_vector/5"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("efficientnet-lite0", BackboneName(EfficientNetLite, "efficientnet-lite0")),
        ("efficientnet-lite1@300", BackboneName(EfficientNetLite, "efficientnet-lite1", 300)),
        (
            "efficientnet-lite0@300+mid",
            BackboneName(EfficientNetLite, "efficientnet-lite0", 300, True),
        ),
        (
            "efficientnet-lite2+mid",
            BackboneName(EfficientNetLite, "efficientnet-lite2", None, True),
        ),
        ("pixels@32", BackboneName(Pixels, "pixels", 32)),
        ("vgg16", BackboneName(KerasApplication, "vgg16")),
        ("keras:vgg16", BackboneName(KerasApplication, "vgg16")),
        (
            "keras:vgg16@128+mid?weights=/w/top less.h5",
            BackboneName(KerasApplication, "vgg16", 128, True, Path("/w/top less.h5")),
        ),
        (HANDLE, BackboneName(HubModule, HANDLE)),
        (f"{HANDLE}@160", BackboneName(HubModule, HANDLE, 160)),
        ("https://h.org/a@b+c?d=e", BackboneName(HubModule, "https://h.org/a@b+c?d=e")),
        ("/models/one", BackboneName(HubModule, "/models/one")),
        ("/models/one@96+mid", BackboneName(HubModule, "/models/one", 96, True)),
    ],
)
def test_a_name_is_taken_apart(text: str, name: BackboneName):
    assert parse(text) == name


def test_a_relative_folder_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert parse("./module@96").network == str(tmp_path / "module")


@given(
    st.builds(
        BackboneName,
        family=st.just(KerasApplication),
        network=st.sampled_from(KerasApplication.networks),
        size=st.none() | st.integers(1, 4096),
        middle=st.booleans(),
        weights=st.none() | st.just(Path("/some/w.h5")),
    )
)
def test_the_canonical_name_says_everything(name: BackboneName):
    assert parse(str(name)) == name


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("efficientnet-lite", "efficientnet-lite"),
        ("eficientnet-lite1", "efficientnet-lite1"),
        ("EfficientNet_Lite2", "efficientnet-lite2"),
        ("vgg-16", "vgg16"),
        ("keras:mobilenetv2", "mobilenet_v2"),
        ("pixel@28", "pixels"),
        ("keras:pixels", "pixels"),
        ("efficientnet-lite0+middle", r"\+mid\?"),
        ("efficientnet-lite0+", r"\+mid\?"),
        ("efficientnet-lite0@", "such as @224"),
        ("efficientnet-lite0@0", "such as @224"),
        ("efficientnet-lite0@300x300", "such as @224"),
        ("efficientnet-lite0@\u0663", "such as @224"),
        ("efficientnet-lite0@99999", "such as @224"),
        ("/models/one@0", "such as @224"),
        ("vgg16?weight=/w.h5", r"\?weights=FILE"),
        ("vgg16?weights=", r"\?weights=FILE"),
        ("efficientnet-lite0?weights=/w.h5", "leave it out"),
        ("efficientnet-lite0+mid@300", "did you mean efficientnet-lite0"),
        ("", "did you mean"),
        ("http://tfhub.dev/a/1", "name it by https://"),
        ("HTTP://127.0.0.1.example.com/a/1@224", "name it by https://"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest_right_word(text: str, word: str):
    with pytest.raises(ConfigurationError, match=word):
        parse(text)


@pytest.mark.parametrize("host", ["https://tfhub.dev", "http://127.0.0.1:99", "http://[::1]"])
def test_a_handle_is_taken_over_https_and_from_this_machine(host: str):
    assert parse(f"{host}/a/1").network == f"{host}/a/1"


def test_every_network_is_its_own_canonical_name():
    for network in (name for family in every() for name in family.networks):
        assert str(parse(network)) == network


def test_a_tuned_backbone_is_named_by_its_fingerprint():
    name = parse("tuned:0123456789abcdef0123")
    assert name == BackboneName(StoredTuned, "tuned:0123456789abcdef0123")
    assert str(name) == "tuned:0123456789abcdef0123"


@pytest.mark.parametrize("text", ["tuned:", "tuned:mine", "tuned:0123@224", "tuned:0123+mid"])
def test_behind_tuned_comes_a_fingerprint_alone(text: str):
    with pytest.raises(ConfigurationError, match="fingerprint of a backbone that was fine-tuned"):
        parse(text)

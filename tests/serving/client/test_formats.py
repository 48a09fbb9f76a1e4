"""What an exported graph says of a picture has the code that decoding it here has.

The table of formats is held against the graph as a server answers by it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from linnaeus.errors import FailureCode, ImageError
from linnaeus.images import FORMATS, PARTLY_EXPORTED, Format, decode
from linnaeus.records import Prediction
from serving.client import ScoringClient
from tests import pictures

pytestmark = pytest.mark.slow

DECODED, NOT_DECODED = pictures.every_format(), pictures.not_decoded()
Answer = Prediction | ImageError


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[dict[str, bytes]], Any]]:
    """What a model that decodes and always says `seen` answers to pictures, by their names."""
    import tensorflow as tf

    from linnaeus.training.exporting.image_ops import decode_images
    from serving.server import EmbeddedServer

    class Seeing(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def serving_default(self, image_bytes: Any) -> dict[str, Any]:
            sure = tf.reduce_mean(tf.cast(decode_images(image_bytes, 8, 8), tf.float32), [1, 2, 3])
            sure, label = 0 * sure + 1, tf.fill(tf.shape(sure), "seen")
            top = {"top_labels": label[:, None], "top_scores": sure[:, None]}
            return {"label": label, "confidence": sure, **top}

    module, base = Seeing(), tmp_path_factory.mktemp("seeing")
    tf.saved_model.save(module, str(base / "1"), {"serving_default": module.serving_default})
    with EmbeddedServer({"m": str(base)}) as server, ScoringClient(server.address) as client:
        yield lambda rows: dict(client.score("m", 1, "serving_default", rows.items()))


def code_here(data: bytes) -> FailureCode | None:
    try:
        decode(data, 8, 8)
    except ImageError as error:
        return error.code
    return None


def test_a_format_is_decoded_by_the_graph_or_refused_as_the_table_says(
    ask: Callable[[dict[str, bytes]], dict[str, Answer]],
):
    formats = {one.name: one for one in FORMATS}
    for name, said in ask(DECODED | NOT_DECODED).items():
        one = formats.get(name) or formats[name.split("-")[0].upper()]
        if one.exported:
            assert isinstance(said, Prediction), name
        else:
            assert_refused(said, one)


def test_what_a_format_has_that_the_graph_refuses_is_told_by_the_table(
    ask: Callable[[dict[str, bytes]], dict[str, Answer]],
):
    partly = {one.name: one for one in FORMATS if one.name in PARTLY_EXPORTED}
    assert set(partly) == {"BMP"}
    assert_refused(ask({"bits": pictures.few_bits_bmp()})["bits"], partly["BMP"])


def assert_refused(said: Answer, one: Format) -> None:
    assert isinstance(said, ImageError), one.name
    assert said.code is FailureCode.UNSUPPORTED
    assert str(said) == f"version 1 of model m refuses it: {one.refusal}"


def test_the_graph_gives_the_code_that_decoding_here_gives(
    ask: Callable[[dict[str, bytes]], dict[str, Answer]],
):
    """But where only one of them decodes it, and for the kinds of a JPEG that libjpeg lacks."""
    exported = {one.name for one in FORMATS if one.exported}
    taken = {kind: data for kind, data in DECODED.items() if kind.split("-")[0].upper() in exported}
    frames = {kind: 4 if kind == "gif-animated" else 2 for kind in taken}
    rows = {f"{kind} cut": data[: len(data) // frames[kind]] for kind, data in taken.items()}
    rows |= {f"{kind} beginning": data[:20] for kind, data in taken.items()} | NOT_DECODED
    rows |= {"": b"", "text": pictures.TEXT, "zip": pictures.ZIP, "zeros": bytes(1000)}
    rows |= {"bomb": pictures.bomb(), "webp bomb": pictures.webp_header(16_383, 16_000)}
    said = {name: getattr(answer, "code", None) for name, answer in ask(rows).items()}
    assert said == {name: code_here(data) for name, data in rows.items()}
    assert set(said.values()) == {
        FailureCode.EMPTY,
        FailureCode.NOT_AN_IMAGE,
        FailureCode.UNSUPPORTED,
        FailureCode.TOO_LARGE,
        FailureCode.CORRUPT,
    }

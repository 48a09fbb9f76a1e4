"""Names that exported models and whoever asks them agree on: signatures, inputs and outputs."""

SERVING_DEFAULT = "serving_default"
KEYED = "keyed"
PIXELS = "pixels"
EMBEDDING = "embedding"
EMBED = "embed"

IMAGE_BYTES = "image_bytes"
SCORES = "scores"

INPUTS = {
    EMBEDDING: EMBEDDING,
    PIXELS: PIXELS,
    SERVING_DEFAULT: IMAGE_BYTES,
    EMBED: IMAGE_BYTES,
}
"""The one input of each signature; `keyed` has a second one."""
OF_PAYLOAD = {"embedding": EMBEDDING, "pixels": PIXELS, "image": SERVING_DEFAULT}
"""The signature by what a scoring run sends."""

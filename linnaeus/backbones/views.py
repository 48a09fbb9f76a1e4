"""Views: a backbone that sees every picture varied, the same way each time.

A view is a backbone of the workspace like any other, with a fingerprint and a table of embeddings
of its own, but without files: the network is that of its base. So the vectors of varied pictures
are computed once, by the ordinary job, and found again.
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, replace

from linnaeus import augmentation_settings
from linnaeus.backbones import store
from linnaeus.backbones.digests import FINGERPRINT_DIGITS, json_sha256
from linnaeus.backbones.spec import BackboneSpec, View
from linnaeus.errors import ConfigurationError
from linnaeus.images import Picture, augmentation, isolation
from linnaeus.storage import Folder

Decode = Callable[[bytes], Picture]


def prepare(
    workspace: Folder,
    base: BackboneSpec,
    how: augmentation_settings.Augmentation,
    seed: int,
    views: int,
) -> list[BackboneSpec]:
    """That many views of a backbone, made now where the workspace does not have them.

    Raises:
        ConfigurationError: nothing is varied, or the seed is below 0.
    """
    if not how.varies:
        raise ConfigurationError("a view needs something that is varied, such as horizontal_flip")
    if seed < 0:
        raise ConfigurationError(f"a seed is at least 0, not {seed}")
    wanted = [View(base.fingerprint, how, seed, number) for number in range(1, views + 1)]
    specs = (replace(base, fingerprint=fingerprint(view), view=view) for view in wanted)
    return [store.publish_spec(workspace, spec) for spec in specs]


def fingerprint(view: View) -> str:
    """What decides a view's vectors, hashed: the base's fingerprint and all that varies pixels."""
    settings = {name: float(value) for name, value in asdict(view.augmentation).items()}
    parts = {**asdict(view), "augmentation": settings, "version": augmentation.VERSION}
    return json_sha256(parts)[:FINGERPRINT_DIGITS]


def decode_size(spec: BackboneSpec) -> tuple[int, int]:
    """Height and width in pixels at which a backbone's pictures are decoded."""
    if spec.view is None:
        return spec.height, spec.width
    return augmentation.decode_size(spec.view.augmentation, spec.height, spec.width)


def decoder(spec: BackboneSpec) -> Decode:
    """What turns bytes into a backbone's pictures, isolated."""
    height, width = decode_size(spec)
    return seen_by(spec, lambda data: isolation.decode(data, height, width))


def seen_by(spec: BackboneSpec, decode: Decode) -> Decode:
    """`decode`, which gives pictures of `decode_size`, and after it what a view does to them."""
    view = spec.view
    if view is None:
        return decode

    def decode_and_vary(data: bytes) -> Picture:
        picture = decode(data)
        seed = [view.seed, view.number, int(hashlib.sha256(data).hexdigest(), 16)]
        pixels = augmentation.augmented(
            picture.pixels, view.augmentation, seed, spec.height, spec.width
        )
        return replace(picture, pixels=pixels)

    return decode_and_vary

"""What a fine-tuning reads: pictures, or what the layers that stay as they are make of them.

Where pictures are not varied, the layers before the first trained one give the same values in each
epoch. They are then computed once and kept in a file, if that is not too large.
"""

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from linnaeus.backbones import Trainable
from linnaeus.errors import ConfigurationError
from linnaeus.images import augmentation
from linnaeus.progress import Progress
from linnaeus.training.config import FineTuningConfig, TrainConfig
from linnaeus.training.data.examples import Examples, LabelledEmbeddings
from linnaeus.training.fine_tuning.pixel_stream import Pictures, Stream, computed, read_pictures
from linnaeus.training.heads.learner import Task

COMPUTED_BYTES = 2 << 30
"""The frozen layers' values are kept up to this size."""


@dataclass(frozen=True)
class Streams:
    """What is learned from, and what validates."""

    train: Stream
    validation: Stream
    task: Task
    computed: bool
    """Whether they hold what the network's frozen part made of the pixels."""


@dataclass(frozen=True)
class Reader:
    """Reads the pictures of some labelled images for a network."""

    data: LabelledEmbeddings
    config: TrainConfig
    parts: int
    """Into how many equal parts a batch has to be divisible."""
    scratch: Path
    """A folder for the files that the streams read from."""
    progress: Progress

    def streams(self, trunk: Trainable) -> Streams:
        """Decodes the pictures and, where it is worth it, has the frozen layers computed.

        Raises ConfigurationError if no picture of a split can be read.
        """
        size = trunk.height, trunk.width
        larger = augmentation.decode_size(self.config.augmentation, *size)
        train = self._pictures("train", larger)
        validation = self._pictures("validation", size)
        kept = not self.config.augmentation.varies and _is_small(trunk, train, validation)
        return Streams(
            self._stream("train", train, trunk, kept),
            self._stream("validation", validation, trunk, kept),
            self.data.task,
            kept,
        )

    def _pictures(self, split: str, size: tuple[int, int]) -> Pictures:
        rows = self.data.slices[split]
        uris, digests = self.data.uris[rows].to_pylist(), self.data.digests[rows].to_pylist()
        with self.progress.step(f"Decode {split} images", len(uris)) as step:
            file = self.scratch / f"{split}.u8"
            pictures = read_pictures(uris, digests, size, file, step.update)
            missing = len(uris) - len(pictures.rows)
            if missing:
                step.note(f"{len(pictures.rows):,} images, {missing:,} cannot be read any more")
        if missing == len(uris):
            raise ConfigurationError(
                f"none of the {len(uris):,} {split} images can be read any more: "
                "look whether they are still where they were when they were embedded"
            )
        return pictures

    def _stream(self, split: str, pictures: Pictures, trunk: Trainable, kept: bool) -> Stream:
        inputs = self._computed(split, pictures, trunk) if kept else pictures.pixels
        varied = split == "train" and self.config.augmentation.varies
        return Stream(
            inputs,
            pictures.rows,
            self._examples(split),
            settings_of(self.config).batch_size,
            _Variation(self.config, trunk.height, trunk.width) if varied else None,
            self.parts,
        )

    def _examples(self, split: str) -> Examples:
        """With weights that are 1 in the mean where images are trained on."""
        examples = self.data.examples(split)
        mean = examples.weights.mean() if split == "train" else np.float32(1)
        return replace(examples, weights=examples.weights / mean)

    def _computed(self, split: str, pictures: Pictures, trunk: Trainable) -> NDArray[np.float32]:
        images = len(pictures.rows)
        with self.progress.step(f"Compute frozen layers of {split} images", images) as step:
            return computed(pictures, trunk.frozen, self.scratch / f"{split}.f32", step.update)


def settings_of(config: TrainConfig) -> FineTuningConfig:
    """How to fine-tune; raises ConfigurationError where that is not configured."""
    if config.fine_tuning is None:
        raise ConfigurationError("fine-tuning is not configured: give fine_tuning settings")
    return config.fine_tuning


@dataclass(frozen=True)
class _Variation:
    """Varies a picture as the seed, the epoch and the image's row decide."""

    config: TrainConfig
    height: int
    width: int

    def __call__(self, pixels: NDArray[np.uint8], epoch: int, row: int) -> NDArray[np.uint8]:
        seed = [self.config.seed, epoch, row]
        how = self.config.augmentation
        return augmentation.augmented(pixels, how, seed, self.height, self.width)


def _is_small(trunk: Trainable, *pictures: Pictures) -> bool:
    """Whether there are frozen layers whose values can be kept."""
    if trunk.frozen_shape is None:
        return False
    images = sum(len(picture.pixels) for picture in pictures)
    return 4 * images * prod(trunk.frozen_shape) <= COMPUTED_BYTES

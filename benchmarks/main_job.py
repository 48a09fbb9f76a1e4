"""The main job at a real size: pictures on an S3 server, listed, embedded, learned from, labelled.

Nothing is left out or set by hand: the default sweep chooses the head, and labels come through the
skew gate. A head that refuses itself, or a picture that is not labelled, fails the measurement.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np

from benchmarks import pictures
from benchmarks.measuring import Measure, Readings, peak_megabytes, seconds_of
from benchmarks.setting import Setting
from linnaeus.storage import Folder
from linnaeus.training.config import TrainConfig
from linnaeus.workspace import Workspace
from tests.conftest import running_s3_server

WIDTH = 224
QUALITY = 85
MODEL = "main"
BRIGHT_GREY_LEVEL = 100
UPLOADS = 16


def main_job(setting: Setting, images: str, backbone: str) -> Measure:
    """Seconds of each step for so many pictures, in a new bucket."""

    def measure() -> Readings:
        with running_s3_server() as server:
            os.environ |= server.environment
            bucket = server.bucket()
            upload(Folder(f"{bucket}/pictures"), int(images))
            return _readings(bucket, int(images), backbone)

    return measure


def upload(folder: Folder, count: int) -> None:
    """Small pictures below a folder a label, which no linear rule over brightness gives."""
    sources = pictures.photographs()

    def one(number: int) -> None:
        picture = pictures.picture(sources, number, WIDTH)
        bright = np.asarray(picture).mean() > BRIGHT_GREY_LEVEL
        label = "even" if (number % len(sources) + bright) % 2 == 0 else "odd"
        data = BytesIO()
        picture.save(data, "JPEG", quality=QUALITY)
        folder.write(f"{label}/{number:06d}.jpg", data.getvalue())

    with ThreadPoolExecutor(UPLOADS) as pool:
        list(pool.map(one, range(count)))


def _readings(bucket: str, images: int, backbone: str) -> Readings:
    workspace, source = Workspace(f"{bucket}/workspace"), f"{bucket}/pictures"
    steps: dict[str, Callable[[], object]] = {
        "list": lambda: workspace.manifest(source),
        "embed": lambda: workspace.embed(source, backbone),
        "train": lambda: workspace.train(source, MODEL, TrainConfig(backbone=backbone)),
        "score": lambda: _score(workspace, source, images),
        "skew": lambda: _compare(workspace),
    }
    seconds = {f"main-job-{name}": seconds_of(step) for name, step in steps.items()}
    return {**seconds, "main-job-memory": peak_megabytes()}


def _score(workspace: Workspace, source: str, images: int) -> None:
    done = workspace.score(source, MODEL).counts.done
    if done != images:
        raise RuntimeError(f"{done} of {images} pictures were labelled")


def _compare(workspace: Workspace) -> None:
    beyond = [one for one in workspace.skew(MODEL) if not one.passes]
    if beyond:
        raise RuntimeError(f"the model refuses itself: {'; '.join(map(str, beyond))}")

"""The scoring job from stored embeddings and from images, against the embedded server."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from beam_pipelines.score import ScoreRequest, score
from benchmarks import stored
from benchmarks.measuring import Measure, job_rate, seconds_of
from benchmarks.setting import MODEL, Setting, fresh_workspace
from linnaeus.models import load_model
from serving.local import start_server

KEYS = {"embedding": "score-images", "image": "score-images-sent", "pixels": "score-pixels-sent"}


def from_embeddings(setting: Setting) -> Measure:
    """Rows whose vectors are in the table."""
    rows = stored.make(setting)
    score_one = _seconds(setting, "embedding", [rows.tables])

    def seconds(count: int) -> float:
        return score_one(rows.manifest(count))

    return job_rate("score-embeddings", seconds, setting.few, setting.stored)


def from_images(setting: Setting, payload: str) -> Measure:
    """New pictures: embedded on the worker (`embedding`), or sent to the server as they are
    (`image`) or decoded (`pixels`).
    """
    score_one = _seconds(setting, payload, [])
    pictures = {setting.few: setting.few_pictures, setting.images: setting.pictures}
    return job_rate(
        KEYS[payload], lambda count: score_one(pictures[count]), setting.few, setting.images
    )


def _seconds(setting: Setting, payload: str, sources: Sequence[Path]) -> Callable[[Path], float]:
    """Times the scoring job over IMAGES in a fresh workspace; one server for all of them."""
    stack = ExitStack()
    atexit.register(stack.close)
    version = load_model(setting.home, MODEL).version
    server = stack.enter_context(start_server(setting.home.uri, MODEL, version))

    def seconds(images: Path) -> float:
        request = ScoreRequest(str(images), MODEL, server, payload)
        with fresh_workspace(setting, *sources) as workspace:
            return seconds_of(lambda: score(workspace, request))

    return seconds

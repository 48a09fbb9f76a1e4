"""A server that drops the version in the middle of a run, and the same command once more."""

import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from beam_pipelines.score import ScoreRequest, score
from linnaeus import layout
from linnaeus.errors import LinnaeusError
from linnaeus.models import golden_images, load_model
from linnaeus.records import PREDICTIONS
from linnaeus.storage import Folder
from linnaeus.tables import Table
from linnaeus.training.evaluation.decisions import DecisionRule
from serving.protocol import tensors, wire
from tests import colour_model
from tests.colour_model import LABELS, NAME
from tests.serving.client.stand_in import answer, serving

pytestmark = pytest.mark.slow
PICTURES = 1200


@dataclass
class Dropping:
    """Serves version 1 for so many requests, and then says that it does not."""

    left: int
    answered: Counter[bytes] = field(default_factory=Counter)
    versions: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        version = request.model_spec.version.value
        with self.lock:
            self.versions.add(version)
            self.left -= 1
            if self.left < 0:
                text = f"Servable not found for request: Specific({NAME}, {version})"
                context.abort(grpc.StatusCode.NOT_FOUND, text)
            self.answered.update(row.tobytes() for row in rows_of(request))
        return answer(request, version, ("red", "green", "blue"))

    def status(self, request: Any, _: grpc.ServicerContext) -> Any:
        response = wire.GetModelStatusResponse()
        response.model_version_status.add(version=1, state=wire.STATE_AVAILABLE)
        return response


def rows_of(request: Any) -> np.ndarray:
    return tensors.to_array(request.inputs["embedding"])


def paint(folder: Path) -> None:
    folder.mkdir()
    chance = np.random.default_rng(0)
    for number in range(PICTURES):
        pixels = chance.integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04d}.png")


def test_a_version_dropped_midway_stops_the_run_and_the_same_command_does_the_rest(
    prepared: Any, tmp_path: Path
):
    workspace: Folder = prepared("dropped")
    colour_model.publish(workspace, DecisionRule(LABELS))
    paint(tmp_path / "bucket")
    server = Dropping(left=2)
    with serving(server.predict, server.status) as address:
        request = ScoreRequest(str(tmp_path / "bucket"), NAME, address, skew_gate=False)
        with pytest.raises(LinnaeusError, match="run the same command again") as caught:
            score(workspace, request)
        assert str(caught.value).count("\n") == 0
        assert f"{address} does not serve version 1 of model {NAME}" in str(caught.value)
        [run] = plans_of(workspace)
        server.left = 10**9
        summary = score(workspace, request)
    assert summary.run_id == run
    assert summary.counts.done == PICTURES
    rows = Table(workspace, layout.predictions(NAME), PREDICTIONS).scan().read_all()
    assert rows.num_rows == PICTURES
    assert set(rows["model_version"].to_pylist()) == {1}
    assert server.versions == {1}
    model = load_model(workspace, NAME)
    known = {one.embedding.tobytes() for one in golden_images.load(workspace, model)}
    assert sum(n for row, n in server.answered.items() if row not in known) == PICTURES


def plans_of(workspace: Folder) -> list[str]:
    root = Path(workspace.uri) / "runs"
    return [folder.parent.name for folder in root.glob("*/plan.parquet")]

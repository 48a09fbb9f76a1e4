import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from linnaeus import layout
from linnaeus.manifests import Manifest
from linnaeus.models import Model
from linnaeus.records import HELD_OUT_PREDICTIONS
from linnaeus.storage import Folder
from linnaeus.training.config import SplitConfig
from linnaeus.training.data import dataset
from linnaeus.training.data.dataset import Selection
from linnaeus.training.data.examples import LabelledEmbeddings
from linnaeus.training.data.held_out import held_out, seen
from tests.linnaeus.training.data.embedded import BACKBONE, embedded, put

pytestmark = pytest.mark.slow

RUN = "01RUN"
SPLIT = {"validation_percentage": 20.0, "testing_percentage": 20.0}


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """Forty pictures of two labels."""
    for number in range(40):
        put(tmp_path / "bucket" / "ab"[number % 2], number)
    return tmp_path / "bucket"


@pytest.fixture
def workspace(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "workspace"))


def trained(workspace: Folder, manifest: Manifest, run_id: str = RUN) -> LabelledEmbeddings:
    """What a training has of these images, whose test split it records."""
    data = dataset.load(workspace, manifest, BACKBONE, Selection(SplitConfig(**SPLIT)))
    rows = {name: [None] * len(data.rows) for name in HELD_OUT_PREDICTIONS.names}
    rows["sha256"] = data.digests.to_pylist()
    rows["split"] = [
        name for name, rows in data.slices.items() for _ in range(rows.start, rows.stop)
    ]
    predictions = pa.table(rows, schema=HELD_OUT_PREDICTIONS)
    file = Path(workspace.uri_of(layout.held_out_predictions(run_id)))
    file.parent.mkdir(parents=True)
    pq.write_table(predictions.filter(pc.not_equal(predictions["split"], "train")), file)
    return data


def judged_of(workspace: Folder, manifest: Manifest, of: Manifest, run_id: str = RUN) -> set[str]:
    """URIs on which a model that was trained on `of` is tested."""
    used = dataset.usable(dataset.image_fates(workspace, manifest, BACKBONE.fingerprint))
    return set(used.filter(held_out(workspace, used, model_of(of, run_id)))["uri"].to_pylist())


def model_of(of: Manifest, run_id: str = RUN) -> Model:
    """A model that was trained on these images."""
    facts = {"source": of.source, "manifest_id": of.id}
    parts = {"hyperparameters": {"split": SPLIT}, "run_id": run_id, "data": facts}
    return Model("m", 1, ("a", "b"), BACKBONE, **parts)


def of_split(data: LabelledEmbeddings, name: str) -> set[str]:
    return set(data.uris[data.slices[name]].to_pylist())


def test_the_test_split_is_held_out(workspace: Folder, bucket: Path) -> None:
    manifest = embedded(workspace, bucket)
    data = trained(workspace, manifest)
    assert judged_of(workspace, manifest, manifest) == of_split(data, "test")
    assert judged_of(workspace, manifest, manifest, run_id="") == of_split(data, "test")


def test_trained_images_that_fill_an_emptied_test_split_are_not_tested_on(
    workspace: Folder, bucket: Path
) -> None:
    before = embedded(workspace, bucket)
    for uri in of_split(trained(workspace, before), "test"):
        Path(uri).unlink()
    now = embedded(workspace, bucket)
    assert judged_of(workspace, now, before) == set()
    assert judged_of(workspace, now, before, run_id="") != set()


def test_images_that_come_later_are_tested_on_if_they_fall_into_the_split(
    workspace: Folder, bucket: Path
) -> None:
    before = embedded(workspace, bucket)
    data = trained(workspace, before)
    later = {str(put(bucket / "a", number)) for number in range(100, 140)}
    found = judged_of(workspace, embedded(workspace, bucket), before)
    assert found > of_split(data, "test")
    assert 0 < len(found & later) < 20
    assert found - later == of_split(data, "test")


def test_a_copy_of_a_trained_image_is_not_tested_on(workspace: Folder, bucket: Path) -> None:
    before = embedded(workspace, bucket)
    data = trained(workspace, before)
    for uri in of_split(data, "train"):
        path = Path(uri)
        path.rename(path.with_name(f"moved-{path.name}"))
    assert judged_of(workspace, embedded(workspace, bucket), before) == of_split(data, "test")


def test_images_of_its_training_are_known_wherever_they_lie(
    workspace: Folder, bucket: Path
) -> None:
    before = embedded(workspace, bucket)
    data = trained(workspace, before)
    copies = bucket.with_name("copies")
    shutil.copytree(bucket, copies)
    new = str(put(copies / "a", 100))
    used = dataset.usable(
        dataset.image_fates(workspace, embedded(workspace, copies), BACKBONE.fingerprint)
    )
    unseen = used.filter(pc.invert(seen(workspace, used, model_of(before))))["uri"].to_pylist()
    tested = {uri.replace(str(bucket), str(copies)) for uri in of_split(data, "test")}
    assert set(unseen) == {new} | tested
    assert not pc.any(seen(workspace, used, model_of(before, run_id=""))).as_py()

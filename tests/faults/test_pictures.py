"""Pictures that kill whoever decodes them: the rest is labelled all the same."""

import os
from pathlib import Path

import pytest

from tests import killing_decoder
from tests.faults.commands import TWO_PROCESSES, ended

pytestmark = pytest.mark.slow

PATCH = """
try:
    from linnaeus import images
    from tests import killing_decoder
    images.decode = killing_decoder.decode
except ImportError:
    pass
"""


@pytest.fixture
def deadly(tmp_path: Path) -> dict[str, str]:
    """The environment in which each Python process decodes as `killing_decoder` does."""
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch" / "sitecustomize.py").write_text(PATCH)
    here = Path(__file__).parents[2]
    paths = [str(tmp_path / "patch"), str(here), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


@pytest.mark.parametrize("options", [(), TWO_PROCESSES], ids=["one process", "two processes"])
@pytest.mark.parametrize("picture", [killing_decoder.KILLER, killing_decoder.GLUTTON])
def test_the_deadly_picture_is_crashed_and_the_rest_is_labelled(
    desk, undisturbed, deadly, options, picture
):
    (desk.photos / "red" / "deadly.png").write_bytes(picture)
    status, said = ended(desk.start(*options, **deadly))
    assert status != 0, said
    if options:  # else the command itself was killed
        assert (status, said.partition(".")[0]) == (1, "A worker process died")
    desk.score(*options, **deadly)
    labels = desk.labels()
    assert labels.pop("/red/deadly.png") == (None, None, "CRASHED")
    assert labels == undisturbed

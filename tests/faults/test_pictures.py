"""Pictures that kill whoever decodes them: they cost no worker, and the rest is labelled."""

from pathlib import Path

import pytest

from tests import killing_decoder
from tests.faults.commands import TWO_PROCESSES, patched

pytestmark = pytest.mark.slow

PATCH = """
try:
    from linnaeus.images import decoding as images
    from tests import killing_decoder
    images.decode = killing_decoder.decode
except ImportError:
    pass
"""


@pytest.fixture
def deadly(tmp_path: Path) -> dict[str, str]:
    """The environment in which each Python process decodes as `killing_decoder` does."""
    return patched(tmp_path, PATCH)


@pytest.mark.parametrize(
    ("picture", "options"),
    [
        pytest.param(killing_decoder.KILLER, (), id="crash, one process"),
        pytest.param(killing_decoder.KILLER, TWO_PROCESSES, id="crash, two processes"),
        pytest.param(
            killing_decoder.GLUTTON,
            TWO_PROCESSES,
            id="memory, two processes",
            marks=pytest.mark.soak,
        ),
    ],
)
def test_the_deadly_picture_is_crashed_and_the_rest_is_labelled(
    desk, undisturbed, deadly, picture, options
):
    (desk.photos / "red" / "deadly.png").write_bytes(picture)
    desk.score(*options, **deadly)
    assert desk.attempts() == 1
    labels = desk.labels()
    assert labels.pop("/red/deadly.png") == (None, None, "CRASHED")
    assert labels == undisturbed

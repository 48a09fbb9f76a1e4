"""The notebook of docs/notebooks runs as it stands, and what it shows is what it is about."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "photos-to-labels.ipynb"
RUN_SECONDS = 400
LARGEST_BYTES = 1_500_000


def shown(book: Any) -> str:
    """All that the cells printed and showed as text."""
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    parts = [output.get("text") or output.get("data", {}).get("text/plain") for output in outputs]
    return "\n".join(part for part in parts if part)


def pictures(book: Any) -> int:
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    return sum("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.soak
def test_the_notebook_goes_from_a_folder_of_pictures_to_their_labels(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(NOTEBOOK, as_version=4)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    client = NotebookClient(book, timeout=RUN_SECONDS, resources={"metadata": {"path": tmp_path}})
    client.execute()  # raises at the first cell that fails
    said = shown(book)
    assert "300 pictures embedded, 0 failed" in said
    assert float(re.search(r"([01]\.\d+) right", said)[1]) > 0.7  # type: ignore[index]
    assert re.search(r"label +confidence", said)
    assert pictures(book) == 1


def test_the_notebook_is_kept_with_its_results_and_without_the_machines_paths():
    import nbformat

    text = NOTEBOOK.read_text()
    book = nbformat.read(NOTEBOOK, as_version=4)
    assert len(text) < LARGEST_BYTES
    assert all(cell.outputs for cell in book.cells[3:] if cell.cell_type == "code")
    assert pictures(book) == 1
    assert not re.search(r"/(tmp|home|root|work|Users)/", text)
    assert "site-packages" not in text

from __future__ import annotations

from collections import Counter

import pytest

from linnaeus.datasets import DATASETS
from linnaeus.datasets.placing import Sample

pytest.importorskip("elpv_dataset")


@pytest.fixture(scope="module")
def cells() -> list[Sample]:
    return list(DATASETS["solar-cells"].samples())


def test_every_cell_is_there_with_the_labels_of_the_paper(cells: list[Sample]):
    assert len(cells) == DATASETS["solar-cells"].images
    assert len({cell.name for cell in cells}) == len(cells)
    assert Counter(cell.label for cell in cells) == {"functional": 1803, "defective": 821}


def test_pictures_that_the_experts_were_unsure_of_count_half(cells: list[Sample]):
    halves = Counter(cell.label for cell in cells if cell.weight == 0.5)
    assert halves == {"functional": 295, "defective": 106}


def test_a_quarter_of_each_label_is_held_out(cells: list[Sample]):
    shares = {
        label: sum(cell.split == "test" for cell in cells if cell.label == label) / total
        for label, total in Counter(cell.label for cell in cells).items()
    }
    assert shares == pytest.approx({"functional": 0.25, "defective": 0.25}, abs=0.002)
    assert {cell.split for cell in cells} == {"train", "test"}


def test_pictures_are_png_files(cells: list[Sample]):
    assert all(cell.data.startswith(b"\x89PNG") for cell in cells)

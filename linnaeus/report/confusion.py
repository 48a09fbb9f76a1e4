"""The confusion matrix as cells, and which labels are taken for which."""

from collections.abc import Sequence
from dataclasses import dataclass

TABLE_LABELS = 12
"""A matrix of more labels is a heat map, whose figures are in the list of confusions."""
CELLS = 4_000
PAIRS = 12


@dataclass(frozen=True)
class Cell:
    """How many pictures of one label were taken for one label, and their share of the first."""

    row: int
    column: int
    images: int
    share: float


@dataclass(frozen=True)
class Confusion:
    """Rows are true labels, columns the predicted ones, both in label order."""

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]
    """Row by row; those without pictures only where all fit into a table."""

    @property
    def rows(self) -> list[tuple[str, list[Cell]]]:
        """Each label with its cells."""
        return [
            (label, [cell for cell in self.cells if cell.row == number])
            for number, label in enumerate(self.labels)
        ]

    @property
    def fits_a_table(self) -> bool:
        """Whether every cell can carry its figures."""
        return len(self.labels) <= TABLE_LABELS

    @property
    def cell_units(self) -> float:
        """Side of a heat map's cell: as small as the names of the labels can still be read."""
        return 10.0 if len(self.labels) <= 200 else max(2.0, 2_000 / len(self.labels))

    @property
    def pairs(self) -> list[Cell]:
        """What is confused, the most frequent first."""
        wrong = [cell for cell in self.cells if cell.row != cell.column and cell.images]
        return sorted(wrong, key=lambda cell: (-cell.images, -cell.share))[:PAIRS]


def confusion(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Confusion:
    """Cells of a matrix of counts [C, C]; of a large one at most `CELLS`, the fullest."""
    cells = [
        Cell(row, column, images, images / max(sum(line), 1))
        for row, line in enumerate(counts)
        for column, images in enumerate(line)
    ]
    if len(labels) > TABLE_LABELS:
        fullest = sorted((cell for cell in cells if cell.images), key=lambda cell: -cell.images)
        cells = sorted(fullest[:CELLS], key=lambda cell: (cell.row, cell.column))
    return Confusion(tuple(labels), tuple(cells))

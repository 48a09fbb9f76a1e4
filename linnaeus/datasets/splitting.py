"""A held-out test set in which every kind of picture has its share."""

import random
from collections import defaultdict
from collections.abc import Hashable, Sequence


def stratified_test_rows(
    strata: Sequence[Hashable], test_share: float = 0.25, seed: int = 0
) -> set[int]:
    """Row numbers of the test set: of each stratum `test_share`, rounded, drawn by `seed`."""
    rows_of = defaultdict(list)
    for row, stratum in enumerate(strata):
        rows_of[stratum].append(row)
    draw = random.Random(seed)
    test: set[int] = set()
    for rows in rows_of.values():
        test.update(draw.sample(rows, round(test_share * len(rows))))
    return test

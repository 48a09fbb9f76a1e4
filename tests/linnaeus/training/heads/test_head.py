from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnaeus.training.heads.head import (
    BLOCK_ROWS,
    Dense,
    Head,
    RadialBasis,
    Standardisation,
    read_blocks,
    with_temperature,
)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6))
def test_a_radial_basis_function_falls_with_the_squared_distance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres, scale = rng.normal(size=(3, 5)), rng.uniform(0.5, 2, 5)
    mean = rng.normal(size=5) * 10.0 ** rng.integers(0, 4, 5)
    x = (mean + rng.normal(size=(7, 5))).astype(np.float32)
    mean = mean.astype(np.float32)
    distances = (((x[:, None].astype(float) - mean) * scale - centres) ** 2).sum(axis=2)
    basis = RadialBasis(centres.astype(np.float32), mean, scale.astype(np.float32), 0.3)
    assert np.allclose(basis.apply(x), np.exp(-0.3 * distances), atol=1e-5)


def test_layers_are_applied_one_after_the_other_in_blocks_or_at_once() -> None:
    rng = np.random.default_rng(0)
    first = Dense(rng.normal(size=(3, 4)), rng.normal(size=4), "relu")
    head = Head((first, Dense(rng.normal(size=(4, 2)), np.zeros(2))))
    x = rng.normal(size=(2 * BLOCK_ROWS + 3, 3)).astype(np.float32)
    expected = np.maximum(x @ first.kernel + first.bias, 0) @ head.layers[1].kernel
    assert np.allclose(head.logits(x), expected)
    assert np.allclose(head.logits_by_block(x), expected)


def test_no_rows_have_no_logits() -> None:
    head = Head((Dense(np.ones((3, 2), np.float32), np.zeros(2, np.float32)),))
    assert head.logits_by_block(np.empty((0, 3), np.float32)).shape == (0, 2)


def test_a_temperature_divides_the_logits_alone() -> None:
    rng = np.random.default_rng(0)
    head = Head(
        (
            Dense(rng.normal(size=(3, 4)), rng.normal(size=4), "tanh"),
            Dense(rng.normal(size=(4, 2)), rng.normal(size=2)),
        )
    )
    x = rng.normal(size=(5, 3))
    assert np.allclose(with_temperature(head, 2.0).logits(x), head.logits(x) / 2)


def test_standardising_alike_keeps_the_columns_in_proportion() -> None:
    rows = (np.random.default_rng(0).normal(size=(500, 3)) * [1, 2, 4] + 5).astype(np.float32)
    scale = Standardisation.alike(rows, np.ones(500, np.float32))
    found = scale.apply(rows)
    assert np.allclose(found.mean(axis=0), 0, atol=1e-5)
    assert found.var(axis=0).mean() == pytest.approx(1, rel=1e-4)
    assert np.allclose(found.std(axis=0) / rows.std(axis=0), 1 / scale.deviation, rtol=1e-4)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_blocks_of_a_mapped_matrix_have_its_rows_and_its_changes(tmp_path: Path, mode: str) -> None:
    matrix = np.arange(5 * BLOCK_ROWS, dtype=np.float32).reshape(-1, 2)
    (tmp_path / "matrix").write_bytes(matrix.tobytes())
    mapped = np.memmap(tmp_path / "matrix", np.float32, mode, shape=matrix.shape)
    if mode != "r":
        mapped += 1
        matrix = matrix + 1
    for part in (slice(None), slice(3, 2000)):
        found = np.concatenate([block.copy() for _, block in read_blocks(mapped[part])])
        assert np.array_equal(found, matrix[part])
        assert np.array_equal(mapped[part], matrix[part])


def test_a_mapped_matrix_does_not_stay_in_memory(tmp_path: Path) -> None:
    shape = (64 * BLOCK_ROWS, 256)
    mapped = np.memmap(tmp_path / "matrix", np.float32, "w+", shape=shape)
    before = resident_bytes()
    for _, block in read_blocks(mapped):
        block[:] = 1
    assert resident_bytes() - before < mapped.nbytes / 4
    assert sum(float(block.sum()) for _, block in read_blocks(mapped)) == mapped.size
    assert resident_bytes() - before < mapped.nbytes / 4

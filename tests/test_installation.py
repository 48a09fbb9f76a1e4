"""What is installed, and what else may lie where somebody works."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).parents[1]


def run(program: str, here: Path) -> subprocess.CompletedProcess[str]:
    """A program of a person who works in that folder."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=here, check=False, capture_output=True, text=True)


def test_a_wheel_brings_no_package_with_an_everyday_name_but_serving():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    include = project["tool"]["setuptools"]["packages"]["find"]["include"]
    found = find_packages(str(ROOT), include=include)
    assert {name.partition(".")[0] for name in found} == {"linnaeus", "beam_pipelines", "serving"}


def test_linnaeus_is_imported_beside_a_clone_of_it(tmp_path: Path):
    (tmp_path / "linnaeus" / "linnaeus").mkdir(parents=True)
    ended = run("import linnaeus; print(linnaeus.__file__)", tmp_path)
    assert ended.stdout.strip() == str(ROOT / "linnaeus" / "__init__.py"), ended.stderr


def test_modules_called_training_and_workflow_are_nobodys_concern(tmp_path: Path):
    for name in ("training", "workflow"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this one was not meant')")
    program = "import linnaeus.training.config, linnaeus.workflow.file.loading as it; print(it)"
    ended = run(program, tmp_path)
    assert str(ROOT) in ended.stdout, ended.stderr


@pytest.mark.parametrize("name", ["serving", "beam_pipelines"])
@pytest.mark.parametrize(
    "program",
    [
        "from linnaeus import Workspace; Workspace('w')",
        "import sys; sys.argv = ['linnaeus', 'status']; from linnaeus.cli import main; main()",
    ],
)
def test_a_module_that_hides_one_of_ours_is_told_in_one_line(
    tmp_path: Path, name: str, program: str
):
    (tmp_path / f"{name}.py").write_text("mine = 1")
    ended = run(program, tmp_path)
    last = ended.stderr.strip().splitlines()[-1]
    assert f"{tmp_path}/{name}.py hides linnaeus's own package {name}: rename it" in last
    assert ended.returncode in (1, 2)

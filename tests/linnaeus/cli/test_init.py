"""`linnaeus init`: what is asked, seen and written."""

from __future__ import annotations

import json
import os
import pty
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from linnaeus.cli.app import app
from linnaeus.workflow.file.loading import read_workflow
from tests.buckets import fill


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LINNAEUS_WORKSPACE", raising=False)
    return tmp_path


def init(*arguments: str, status: int = 0) -> tuple[str, str]:
    """Standard output, and the last line of standard error."""
    result = CliRunner().invoke(app, ["init", *arguments])
    assert result.exit_code == status, result.output
    return result.stdout, (result.stderr.strip().split("\n") or [""])[-1]


def test_a_folder_of_labels_needs_one_option(here):
    fill(here / "photos", 6)
    said, _ = init("--images", "photos", "--yes")
    assert "6 images (1.6 kB), with 2 labels: even, odd" in said
    assert said.endswith("  linnaeus run workflow.toml --dry-run\n  linnaeus run workflow.toml\n")
    workflow = read_workflow("workflow.toml")
    assert workflow.images.location == f"{here}/photos"
    assert workflow.workspace == f"{here}/workspace"
    assert workflow.labels.location is None


def test_options_stand_in_the_file(here):
    fill(here / "photos", 2)
    fill(here / "labelled", 2)
    options = ["--labels", "labelled", "--model", "birds", "--workspace", "s3://bucket/w"]
    init("nightly.toml", "--images", "photos/", *options)
    workflow = read_workflow("nightly.toml")
    assert (workflow.model.name, workflow.workspace) == ("birds", "s3://bucket/w")
    assert workflow.labels.location == f"{here}/labelled"
    assert workflow.images.location == f"{here}/photos/"


def test_labels_that_lie_elsewhere_are_proposed_and_the_buckets_folders_are_none(here):
    fill(here / "photos", 6)
    for label in ("cat", "dog"):
        (fill(here / "labelled", 2) / "even").rename(here / "labelled" / label)
    shutil.rmtree(here / "labelled" / "odd")
    said, _ = init("--images", "photos", "--labels", "labelled", "--yes")
    assert "6 images (1.6 kB), with 2 labels in labelled: cat, dog\n" in said
    assert "even" not in said
    options = ["--images", "photos", "--labels", "labelled", "--force", "--json"]
    assert json.loads(init(*options)[0])["look"]["labels"] == ["cat", "dog"]


def test_a_place_of_labels_without_any_is_minded(here):
    fill(here / "photos", 6)
    (fill(here / "labelled", 2) / "even").rename(here / "labelled" / "2026")
    shutil.rmtree(here / "labelled" / "odd")
    said, _ = init("--images", "photos", "--labels", "labelled")
    assert "mind: no labels are to be seen" in said
    said, _ = init("--images", "photos", "--labels", "none", "--force")
    assert "no labels to be seen in none" in said


def test_places_mean_the_same_from_a_file_in_another_folder(here):
    fill(here / "photos", 2)
    (here / "conf").mkdir()
    init("conf/nightly.toml", "--images", "photos", "--labels", "~/labelled")
    workflow = read_workflow("conf/nightly.toml")
    assert workflow.images.location == f"{here}/photos"
    assert workflow.workspace == f"{here}/workspace"
    assert workflow.labels.location == "~/labelled"


def test_a_file_is_not_replaced_unless_that_is_asked(here):
    fill(here / "photos", 2)
    Path("workflow.toml").write_text("mine")
    _, said = init("--images", "photos", status=2)
    assert said == "workflow.toml exists: name another file, or --force replaces it"
    assert Path("workflow.toml").read_text() == "mine"
    init("--images", "photos", "--force")
    assert read_workflow("workflow.toml").name == "nightly"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nobody can be asked here: say --images, a folder or s3://…"),
        (["--images", "none"], "there is no folder "),
        (["--images", "empty"], "no images in "),
        (["--images", "none.csv"], "there is no file "),
        (["--images", "ftp://x/y"], "cannot read ftp://"),
        (["--images", "photos", "--model", "a b"], ": model.name: use letters, digits"),
        (["--images", "photos", "--workspace", "photos"], "workspace is the images' own folder"),
        (["empty"], "empty: a folder; name a file in it, such as empty/nightly.toml"),
        (["none/x.toml"], "none/x.toml: there is no folder none: make it first"),
    ],
)
def test_what_cannot_be_is_one_line_and_no_file(here, arguments, said):
    fill(here / "photos", 2)
    (here / "empty").mkdir()
    _, line = init(*arguments, status=2)
    assert said in line
    assert not Path("workflow.toml").exists()


def test_images_without_labels_are_minded(here):
    (fill(here / "photos", 4) / "even").rename(here / "photos" / "2026")
    (here / "photos" / "odd").rename(here / "photos" / "2025")
    said, _ = init("--images", "photos")
    assert "4 images (1.1 kB), no labels to be seen" in said
    assert "mind: no labels are to be seen; set location in [labels]" in said


def test_nothing_is_looked_at_if_that_is_asked():
    said, _ = init("--images", "s3://far-away/photos", "--no-look")
    assert said.startswith("workflow.toml is written, for images in s3://far-away/photos\nnext:")
    assert read_workflow("workflow.toml").workspace == "s3://far-away/linnaeus"


def test_a_workspace_that_is_named_stands_in_the_file_even_if_it_is_the_default():
    init("--images", "s3://far-away/photos", "--no-look", "--workspace", "./workspace")
    assert 'workspace = "./workspace"' in Path("workflow.toml").read_text()


def test_machines_get_json(here):
    fill(here / "photos", 2)
    said = json.loads(init("--images", "photos", "--json")[0])
    assert (said["file"], said["look"]["labels"]) == ("workflow.toml", ["even", "odd"])
    assert said["next"][1] == "linnaeus run workflow.toml"


@pytest.mark.slow
def test_on_a_terminal_questions_are_asked_until_an_answer_will_do(here):
    fill(here / "photos", 6)
    program = "from linnaeus.cli import main; main()"
    child, terminal = pty.fork()
    if not child:
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        os.execv(sys.executable, [sys.executable, "-c", program, "init", "asked.toml"])
    answers = ["none", "photos", "", "no name!", "birds", ""]
    os.write(terminal, "".join(f"{answer}\n" for answer in answers).encode())
    shown = b""
    try:
        while read := os.read(terminal, 65536):
            shown += read
    except OSError:  # so Linux says that the other end is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, shown.decode()
    assert b"check the name" in shown and b"use letters, digits" in shown
    workflow = read_workflow("asked.toml")
    assert workflow.images.location == f"{here}/photos"
    assert (workflow.model.name, workflow.labels.location) == ("birds", None)

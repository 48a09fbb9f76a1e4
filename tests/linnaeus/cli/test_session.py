from __future__ import annotations

import json
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner, Result

from linnaeus.cli.session import Session, register
from linnaeus.errors import ConfigurationError, ReconciliationError, StorageError


def run_command(error: BaseException | None, *arguments: str, **environment: str) -> Result:
    app = typer.Typer()

    @app.callback()
    def program() -> None: ...

    def work(
        session: Session,
        images: str,
        count: Annotated[int, typer.Option(min=0)] = 3,
    ) -> None:
        """Works."""
        if error is not None:
            raise error
        session.show({"images": images, "workspace": session.workspace_uri}, f"{images} x {count}")

    register(app, work)
    return CliRunner().invoke(app, ["work", *arguments], env=environment)


def test_a_result_is_words_for_people():
    result = run_command(None, "pics", "--count", "4")
    assert (result.exit_code, result.stdout) == (0, "pics x 4\n")


def test_a_result_is_one_json_document_for_machines():
    result = run_command(None, "pics", "--json")
    assert json.loads(result.stdout) == {"images": "pics", "workspace": "./workspace"}


def test_the_workspace_comes_from_the_option_before_the_environment():
    environment = {"LINNAEUS_WORKSPACE": "s3://b/w"}
    from_environment = run_command(None, "pics", "--json", **environment)
    assert json.loads(from_environment.stdout)["workspace"] == "s3://b/w"
    from_option = run_command(None, "pics", "--json", "--workspace", "here", **environment)
    assert json.loads(from_option.stdout)["workspace"] == "here"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigurationError("no images in ./x: name another folder"), 2),
        (StorageError("the bucket b does not exist: create it"), 1),
        (ReconciliationError("3 objects are missing"), 1),
    ],
)
def test_an_error_is_its_one_line_and_a_status(error: Exception, status: int):
    result = run_command(error, "pics")
    assert (result.exit_code, result.stdout, result.stderr) == (status, "", f"{error}\n")


def test_an_unexpected_error_is_one_line_that_names_the_way_on():
    result = run_command(ZeroDivisionError("by\nzero"), "pics")
    assert result.exit_code == 1
    assert result.stderr == "ZeroDivisionError: by zero (unexpected; --debug shows where)\n"


def test_a_file_that_the_system_refuses_is_named():
    result = run_command(PermissionError(13, "Permission denied", "/x/y"), "pics")
    assert (result.exit_code, result.stderr) == (1, "/x/y: Permission denied\n")


def test_debug_shows_the_traceback_and_keeps_the_status():
    result = run_command(ConfigurationError("no images"), "pics", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("no images\n")


def test_an_interruption_says_that_the_command_continues():
    result = run_command(KeyboardInterrupt(), "pics")
    assert result.exit_code == 130
    assert result.stderr == "Interrupted; the same command continues where it stopped.\n"


def test_an_error_is_json_for_machines():
    result = run_command(ConfigurationError("no images"), "pics", "--json")
    assert json.loads(result.stderr) == {
        "event": "error",
        "kind": "ConfigurationError",
        "message": "no images",
    }


@pytest.mark.parametrize("arguments", [(), ("pics", "--count", "-1"), ("pics", "--nonsense")])
def test_wrong_usage_is_status_2(arguments: tuple[str, ...]):
    assert run_command(None, *arguments).exit_code == 2

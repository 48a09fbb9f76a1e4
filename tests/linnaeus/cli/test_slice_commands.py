"""Wrong usage of slices is one line and status 2, before anything is looked at."""

import pytest
from typer.testing import CliRunner

from linnaeus.cli.app import app


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("embed", "name IMAGES, or a frozen run by --plan"),
        ("score --model m", "name IMAGES, or a frozen run by --plan"),
        ("score pics", "--model"),
        ("embed pics --plan night --slice 1/2", "IMAGES"),
        ("embed --plan night", "--slice 3/16"),
        ("embed pics --slice 1/2", "--plan"),
        ("embed --plan night --slice 1/2 --backbone efficientnet-lite0", "--backbone"),
        ("embed --plan night --slice 1/2 --precision int8", "--precision"),
        ("embed --plan night --slice 1/2 --max-failures 3", "--max-failures"),
        ("embed --plan night --slice 1/2 -- --runner=Flink", "Beam"),
        ("embed --plan night --slice 5/2", "numbered from 1/2"),
        ("embed --plan ../night --slice 1/2", "no name for a plan"),
        ("embed --plan night --slice 1/2", "--freeze night"),
        ("score --plan night --slice 1/2 --model m", "--model"),
        ("score --plan night --slice 1/2 --output out", "--output"),
        ("score --plan night --slice 1/2 --format csv", "--format"),
        ("score --plan night --slice 1/2 --payload image", "--payload"),
        ("plan pics --model m", "--freeze"),
        ("plan pics --payload image", "--freeze"),
        ("plan pics --freeze night --payload image", "--model"),
        ("plan pics --freeze night --model m --backbone pixels", "--backbone"),
        ("plan pics --freeze a/b", "no name for a plan"),
        ("commit", "--plan NAME"),
        ("commit RUN --plan night", "--plan NAME"),
        ("commit --plan night", "--freeze night"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(command, words, tmp_path, monkeypatch):
    for name in ("AWS_BATCH_JOB_ARRAY_INDEX", "JOB_COMPLETION_INDEX", "CLOUD_RUN_TASK_INDEX"):
        monkeypatch.delenv(name, raising=False)
    head, *more = command.split()
    arguments = [head, "--workspace", str(tmp_path / "workspace"), *more]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_changes_are_counted_for_a_person(tmp_path):
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "1.jpg").write_bytes(b"1")
    (tmp_path / "changes").write_text("2.jpg\n1.jpg\nnotes.txt\n3.jpg\n")
    arguments = ["manifest", str(tmp_path / "pics"), "--workspace", str(tmp_path / "workspace")]
    first = CliRunner().invoke(app, [*arguments, "--changes", str(tmp_path / "changes")])
    assert first.exit_code == 2
    assert "there is no list of" in first.stderr
    assert CliRunner().invoke(app, arguments).exit_code == 0
    (tmp_path / "pics" / "2.jpg").write_bytes(b"22")
    result = CliRunner().invoke(app, [*arguments, "--changes", str(tmp_path / "changes")])
    assert result.stdout.startswith("2 objects of ")
    assert "4 named, 1 of them ignored; 3 images looked up, 1 gone" in result.stderr

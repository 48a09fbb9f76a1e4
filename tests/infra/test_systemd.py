"""The units for a machine without containers: read by systemd, their commands run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from linnaeus.workflow.file.loading import read_workflow
from tests import buckets
from tests.infra.commands import parsed

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "systemd"
UNITS = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".service", ".timer"))
SERVICES = [name for name in UNITS if name.endswith(".service")]
PROGRAM = "/opt/linnaeus/bin/linnaeus"
EXPOSURE = 20
"""Of systemd's 0 to 100; an ordinary service has 92."""
ANALYZE = shutil.which("systemd-analyze")
Unit = dict[str, dict[str, list[str]]]


def unit(name: str) -> Unit:
    """From section and setting to the values, in order."""
    found: Unit = {}
    section: dict[str, list[str]] = {}
    for line in (FOLDER / name).read_text("utf-8").splitlines():
        if line.startswith("["):
            assert line[1:-1] not in found, line
            section = found.setdefault(line[1:-1], {})
        elif line and not line.startswith("#"):
            setting, equals, value = line.partition("=")
            assert equals and re.fullmatch(r"[A-Z][A-Za-z]+", setting), line
            section.setdefault(setting, []).append(value)
    return found


def one(found: Unit, setting: str, section: str = "Service") -> str:
    [value] = found[section][setting]
    return value


def command(found: Unit) -> list[str]:
    return shlex.split(one(found, "ExecStart"))


def environment(found: Unit) -> dict[str, str]:
    return dict(value.split("=", 1) for value in found["Service"]["Environment"])


def analyze(*arguments: str | Path) -> str:
    """What systemd says, which must not be a complaint; nothing where there is no systemd."""
    if ANALYZE is None:
        return ""
    ended = subprocess.run([ANALYZE, *arguments], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, with a program that there is: systemd asks for it."""
    for path in FOLDER.iterdir():
        text = path.read_text("utf-8").replace(PROGRAM, sys.executable)
        (tmp_path / path.name).write_text(text.replace("/usr/bin/logger", sys.executable))
    return tmp_path


@pytest.mark.parametrize("name", UNITS)
def test_systemd_reads_a_unit_without_a_complaint(installed, name):
    text = (installed / name).read_text("utf-8")
    if ANALYZE and name == "linnaeus-nightly.service":
        (installed / name).write_text(text.replace("Nice=", "Nicely="))
        with pytest.raises(AssertionError, match="Nicely"):
            analyze("verify", installed / name)
        (installed / name).write_text(text)
    analyze("verify", installed / name)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_locked_in(installed, name):
    analyze("security", "--offline=true", f"--threshold={EXPOSURE}", installed / name)
    found = unit(name)
    assert one(found, "ProtectSystem") == "strict"
    assert one(found, "NoNewPrivileges") == one(found, "DynamicUser") == "yes"
    assert one(found, "CapabilityBoundingSet") == ""


def test_a_workflow_run_that_was_slept_through_is_made_up_for():
    found = unit("linnaeus-nightly.timer")
    analyze("calendar", one(found, "OnCalendar", "Timer"))
    assert one(found, "Persistent", "Timer") == "true"
    assert found["Timer"]["RandomizedDelaySec"]
    assert one(found, "WantedBy", "Install") == "timers.target"


def test_a_workflow_run_ends_some_time_and_trouble_is_told():
    found = unit("linnaeus-nightly.service")
    assert one(found, "Type") == "oneshot"
    assert found["Service"]["TimeoutStartSec"] == ["12h"]
    teller, _, instance = one(found, "OnFailure", "Unit").partition("@")
    assert f"{teller}@.service" in UNITS
    assert instance == "%N.service"


@pytest.mark.parametrize("name", [n for n in SERVICES if not n.startswith("linnaeus-trouble")])
def test_the_command_is_one_of_linnaeus_and_its_secrets_are_not_in_the_unit(name):
    found = unit(name)
    program, *arguments = command(found)
    assert program == PROGRAM
    assert parsed(arguments)
    assert one(found, "EnvironmentFile") == "-/etc/linnaeus/secrets.env"
    text = (FOLDER / name).read_text("utf-8")
    assert not re.search(r"^[^#]*(KEY|SECRET|TOKEN)", text, re.MULTILINE)


def test_job_and_server_share_the_workspace():
    job, server = unit("linnaeus-nightly.service"), unit("linnaeus-serving.service")
    for setting in ("User", "StateDirectory", "UMask"):
        assert one(job, setting) == one(server, setting)
    workflow = read_workflow(FOLDER / "nightly.toml")
    asked = command(server)
    assert asked[asked.index("--workspace") + 1] == workflow.workspace
    assert asked[asked.index("--model") + 1] == workflow.model.name
    assert workflow.workspace.startswith(f"/var/lib/{one(job, 'StateDirectory')}/")


@pytest.mark.slow
def test_the_nightly_command_runs_and_writes_where_the_unit_lets_it(tmp_path):
    """Its first step, with small data, the unit's environment and none of this process's."""
    found = unit("linnaeus-nightly.service")
    folders = {
        "/var/lib/linnaeus": tmp_path / "state",
        "/var/cache/linnaeus": tmp_path / "cache",
        "/etc/linnaeus": tmp_path / "etc",
        "/srv/photos": buckets.fill(tmp_path / "photos", 4),
    }

    def here(text: str) -> str:
        for there, folder in folders.items():
            text = text.replace(there, str(folder))
        return text

    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    text = (FOLDER / "nightly.toml").read_text("utf-8")
    (tmp_path / "etc" / "nightly.toml").write_text(here(text))
    _, *arguments = command(found)
    program = [sys.executable, "-c", "from linnaeus.cli import main; main()"]
    words = [*program, *map(here, arguments), "--only", "manifest"]
    settings = {name: here(value) for name, value in environment(found).items()}
    settings |= {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    ended = subprocess.run(
        words,
        cwd=here(one(found, "WorkingDirectory")),
        env=settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert list((tmp_path / "state" / "workspace" / "workflow_runs" / "nightly").glob("*.json"))
    assert {path.name for path in (tmp_path / "etc").iterdir()} == {"nightly.toml"}

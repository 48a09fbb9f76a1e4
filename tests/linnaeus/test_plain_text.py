"""Names of other people's files on a terminal, in lines, tables and pages: nothing is obeyed."""

import errno
import io
import json
import os
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

from linnaeus.cli.session import Session, register
from linnaeus.cli.wording import evaluation_text, facts_text, photos_text
from linnaeus.errors import StorageError
from linnaeus.plain_text import one_line, plain
from linnaeus.progress.bar import RichProgress
from linnaeus.progress.steps import JsonProgress, PlainProgress
from linnaeus.records import PhotoLabels
from linnaeus.report.page import _environment

EVIL = "a\x1b]0;owned\x07\x1b[2Jb\rc\nd\x9b31m\u202egpj.exe\u2066\u200f"
OBEYED = set(EVIL) - set("a]0;owned[2Jbcd31mgpj.exe")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(text):
    assert "owned" in text
    return OBEYED & set(text)


def test_what_a_terminal_would_obey_is_written_out():
    assert plain("a\x1b[2J\n\u202eb") == r"a\x1b[2J\n\u202eb"
    usual = "Łódź/山 🦜\N{ZERO WIDTH JOINER}/a b\N{NO-BREAK SPACE}'\\n'.jpg"
    assert plain(usual) == usual
    assert plain(plain(EVIL)) == plain(EVIL)
    assert not shown(plain(EVIL))


@pytest.mark.parametrize("made", [PlainProgress, RichProgress])
def test_steps_notes_and_warnings_obey_no_name(made):
    stream = Terminal() if made is RichProgress else io.StringIO()
    with made(stream).step(EVIL, None) as step:
        step.warn(EVIL)
        step.note(EVIL)
    lines = [line for line in stream.getvalue().splitlines() if "owned" in line]
    assert len(lines) >= 2
    for line in lines:
        assert "\\x1b]0;owned\\x07" in line
        assert not {"\x07", "\x9b", "\u202e", "\u2066"} & set(line)


def command(session: Session, fails: bool = False) -> None:
    """Say a name."""
    if fails:
        raise StorageError(f"{EVIL}: not found")
    session.show({"uri": EVIL}, f"{plain(EVIL)}\n{EVIL}")


def test_results_and_errors_of_a_command_obey_no_name():
    app = typer.Typer()
    register(app, command)
    done = CliRunner().invoke(app, [])
    assert shown(done.stdout) == {"\n"}
    failed = CliRunner().invoke(app, ["--fails"])
    assert shown(failed.stderr.removesuffix("\n")) == set()


def test_json_obeys_no_name_and_stands_for_it_all_the_same():
    app = typer.Typer()
    register(app, command)
    done, failed = (CliRunner().invoke(app, ["--json", *one]) for one in ([], ["--fails"]))
    stream = io.StringIO()
    with JsonProgress(stream).step(EVIL, None) as step:
        step.note(f"größe {EVIL}\udcff")
    assert "größe" in stream.getvalue()
    for text in (done.stdout, failed.stderr, stream.getvalue()):
        assert shown(text.removesuffix("\n")) == set()
    assert json.loads(done.stdout) == {"uri": EVIL}
    assert json.loads(stream.getvalue())["note"] == f"größe {EVIL}\udcff"


def test_a_name_makes_no_lines_of_its_own():
    photo = PhotoLabels(EVIL, [(EVIL, 0.9)], None, EVIL, (EVIL,))
    texts = {
        facts_text({"models": {EVIL: [EVIL]}, "runs": [{"source": EVIL}]}): 4,
        photos_text([photo, replace(photo)]): 5,
        evaluation_text(METRICS | {"classes": {EVIL: CLASS}}): 2,
    }
    for text, lines in texts.items():
        assert shown(text) == {"\n"}
        assert text.count("\n") + 1 == lines, text


CLASS = {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}
METRICS = {"accuracy": 1.0, "accuracy_interval": (0.9, 1.0), "images": 1, "left_out": {}}


def test_pages_show_names_and_keep_their_markup():
    template = _environment().from_string("<b>{{ name }}</b>{{ script }}")
    page = template.render(name=EVIL)
    assert "<b>a\\x1b]0;owned" in page
    assert OBEYED & set(page) <= {"\n"}
    assert "&lt;" not in page.partition("</b>")[2][:200]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "x", "/w/a\x1b"), r"/w/a\x1b: No space left on device: make room"),
        (OSError(errno.EFBIG, "x"), "(TMPDIR): File too large: make room and run the same"),
        (RuntimeError("saved_model.pb.tmp9b; File too large"), "tmp9b; File too large: make room"),
        (RuntimeError(f"HDF5: {os.strerror(errno.ENOSPC)}'"), "make room and run the same command"),
        (PermissionError(errno.EACCES, "x", "/w"), "/w: Permission denied"),
        (RuntimeError("a\nb"), "RuntimeError: a b (unexpected; look)"),
        (StorageError("a: gone\n"), "a: gone"),
    ],
)
def test_an_error_is_one_line_and_a_full_disk_is_nothing_unexpected(error, line):
    said = one_line(error, "; look")
    assert line in said
    assert ("unexpected" in said) == ("unexpected" in line)

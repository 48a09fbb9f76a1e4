"""A runner is fetched once a machine, whole or not at all."""

import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.fetching import fetch, run
from infra.flink.downloads import LINE_BYTES, manifest
from linnaeus.errors import ConfigurationError


def write(folder: Path) -> None:
    (folder / "program").write_text("whole")


def refuse(folder: Path) -> None:
    raise AssertionError("fetched again")


def test_what_is_there_is_not_fetched_again(tmp_path):
    fetch(tmp_path / "cache" / "runner", write)
    assert fetch(tmp_path / "cache" / "runner", refuse) == tmp_path / "cache" / "runner"


def test_a_fetch_that_fails_leaves_nothing(tmp_path):
    def half(folder):
        write(folder)
        raise ConfigurationError("the registry is away")

    with pytest.raises(ConfigurationError):
        fetch(tmp_path / "runner", half)
    assert list(tmp_path.iterdir()) == []


def test_two_that_fetch_at_once_both_get_a_whole_one(tmp_path):
    both = threading.Barrier(2, timeout=30)

    def together(folder):
        write(folder)
        both.wait()

    target, found = tmp_path / "runner", []
    threads = [
        threading.Thread(target=lambda: found.append(fetch(target, together))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [target, target]
    assert [path.name for path in tmp_path.iterdir()] == ["runner"]
    assert (target / "program").read_text() == "whole"


def test_a_missing_program_and_one_that_fails_are_one_line_with_the_remedy():
    with pytest.raises(ConfigurationError, match="there is no no-such-tool: install it"):
        run(["no-such-tool"], "install it")
    command = [sys.executable, "-c", "raise SystemExit('first\\nnot found')"]
    with pytest.raises(ConfigurationError, match="failed: not found: look at the registry"):
        run(command, "look at the registry")


names = st.text("abcdefghij-0123456789", min_size=1, max_size=60)


@given(st.lists(names, min_size=1, max_size=30))
def test_a_manifest_keeps_to_its_line_length_and_unfolds_to_its_jars(jars):
    paths = [Path("/jars") / f"{name}.jar" for name in jars]
    text = manifest("a.Main", paths)
    assert all(len(line) <= LINE_BYTES for line in text.split("\r\n"))
    unfolded = dict(line.split(": ", 1) for line in text.replace("\r\n ", "").splitlines() if line)
    assert unfolded["Class-Path"].split(" ") == [path.as_uri() for path in paths]
    assert unfolded["Main-Class"] == "a.Main"

"""Every ```sh block of docs/how-to is run as it stands, or says why it is not."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from beam_pipelines.runners import downloaded
from infra.kubernetes.kustomize import kustomize
from tests.conftest import S3Server
from tests.docs.pictures import pictures
from tests.docs.shell_blocks import Block, blocks_of
from tests.docs.shell_session import BlockError, Session

FOLDER = Path(__file__).parents[2] / "docs" / "how-to"
PLATFORMS = ("one-machine", "kubernetes", "aws", "google-cloud")
PAGES = sorted(page for page in FOLDER.glob("*.md") if "```sh\n" in page.read_text())
RUN_PAGES = [page for page in PAGES if any(block.is_run for block in blocks_of(page))]
BUCKETS = ("photos", "linnaeus")
LONG_PAGES = ("workflow-runs", "slices")
"""Those whose commands take minutes."""


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with closing(Session(tmp_path / "session")) as opened:
        yield opened


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem, marks=[pytest.mark.soak] * (page.stem in LONG_PAGES))
        for page in RUN_PAGES
    ],
)
def test_a_pages_commands_do_what_they_say(page, session, request):
    for block in blocks_of(page):
        if block.wants_s3 and not session.environment:
            server = request.getfixturevalue("s3_server")
            refill(server)
            session.environment = dict(server.environment)
        if block.wants_kustomize:
            kustomize()
            session.environment["XDG_CACHE_HOME"] = str(downloaded.folder().parents[1])
        if block.is_run:
            session.run(block)


def refill(server: S3Server) -> None:
    """Make the bucket of pictures, and one for the workspace, as if nobody had used them."""
    client = server.client()
    existing = {one["Name"] for one in client.list_buckets()["Buckets"]}
    for name in BUCKETS:
        if name in existing:
            listed = client.get_paginator("list_objects_v2").paginate(Bucket=name)
            for key in [one["Key"] for page in listed for one in page.get("Contents", ())]:
                client.delete_object(Bucket=name, Key=key)
        else:
            client.create_bucket(Bucket=name)
    for key, data in pictures():
        client.put_object(Bucket="photos", Key=key, Body=data)


def written(folder: Path, text: str) -> list[Block]:
    page = folder / "page.md"
    page.write_text(text)
    return blocks_of(page)


def run(session: Session, text: str) -> list[str]:
    return [session.run(block) for block in written(session.folder, text) if block.is_run]


@pytest.mark.parametrize(
    "commands", ["false\ntrue", "true\nno-such-program", "false | true", "echo $NO_SUCH_VARIABLE"]
)
def test_a_failing_command_fails_its_page(session, commands):
    with pytest.raises(BlockError, match=r"^page\.md:3: exit status [1-9]"):
        run(session, f"Text\n\n```sh\n{commands}\n```\n")


def test_a_command_that_never_ends_fails_its_page(tmp_path):
    slow = closing(Session(tmp_path / "session", block_seconds=0.3))
    with slow as session, pytest.raises(BlockError, match=r"page\.md:1: not done in 0\.3 s"):
        run(session, "```sh\nsleep 60\n```\n")


def test_blocks_share_a_shell(session):
    text = "```sh\nexport NAME='a b'\nmkdir -p x\ncd x\n```\n\n```sh\necho $NAME > y\npwd\n```\n"
    assert run(session, text)[1].endswith("/x\n")
    assert (session.folder / "here" / "x" / "y").read_text() == "a b\n"


def test_a_program_in_the_background_ends_with_its_page(session):
    run(session, "```sh\n{ sleep 0.5; touch early; sleep 0.5; touch late; } &\n```\n")
    time.sleep(0.75)
    session.close()
    time.sleep(0.5)
    assert (session.folder / "here" / "early").exists()
    assert not (session.folder / "here" / "late").exists()


def test_hidden_commands_come_first_and_unrun_blocks_not_at_all(session):
    text = (
        "<!-- run: echo hidden > file -->\n```sh\ncat file\n```\n"
        "<!-- unrun: needs a cloud -->\n```sh\nfalse\n```\n"
        "```\nfalse\n```\n"
    )
    assert run(session, text) == ["hidden\n"]


def test_a_block_in_a_list_loses_its_indent(tmp_path):
    [block] = written(tmp_path, "1. First\n\n   ```sh\n   cat <<E\n     x\n   E\n   ```\n")
    assert block.commands == "cat <<E\n  x\nE\n"


@pytest.mark.parametrize(
    "text",
    [
        "<!-- unrun: -->\n```sh\ntrue\n```\n",
        "<!-- unrnu: a slip -->\n```sh\ntrue\n```\n",
        "<!-- with: gcs -->\n```sh\ntrue\n```\n",
        "<!-- unrun: too far away -->\n\n```sh\ntrue\n```\n",
        "<!-- unrun: not of this kind -->\n```\ntrue\n```\n",
    ],
)
def test_a_mark_that_would_do_nothing_is_an_error(tmp_path, text):
    with pytest.raises(ValueError, match=r"page\.md:"):
        written(tmp_path, text)


def test_a_blocks_commands_are_this_checkouts(session):
    [said] = run(session, "```sh\npython -c 'import linnaeus; print(linnaeus.__file__)'\n```\n")
    assert Path(said.strip()).parents[1] == FOLDER.parents[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_is_run_or_says_why_not(page):
    for block in blocks_of(page):
        assert block.is_run or all(len(reason) > 5 for reason in block.values("unrun"))


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.md")), ids=lambda page: page.stem)
def test_a_page_that_opens_a_server_to_others_says_who_may_ask(page):
    paragraphs = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    if "0.0.0.0" in page.read_text():
        assert re.search(r"mutual\s+TLS|proxy\s+with\s+TLS", paragraphs)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_platforms_page_has_commands_that_are_run(platform):
    page = FOLDER / f"{platform}.md"
    if not page.exists():
        pytest.skip("is not written yet")
    assert page in RUN_PAGES


@pytest.mark.slow
def test_the_s3_server_has_pictures(session, s3_server):
    refill(s3_server)
    session.environment = dict(s3_server.environment)
    command = "linnaeus manifest s3://photos/ --workspace s3://linnaeus/w"
    [said] = run(session, f"<!-- with: s3 -->\n```sh\n{command}\n```\n")
    assert "24 objects" in said

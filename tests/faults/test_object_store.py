"""Scoring a bucket whose S3 server misbehaves ends well, or with one line and then well."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from linnaeus.errors import LinnaeusError
from linnaeus.planning import plans
from tests.end_to_end.conftest import picture
from tests.faults.conftest import EACH, PICTURES, Site
from tests.faults.proxy import (
    Before,
    CutBody,
    Fault,
    Late,
    LostAnswer,
    Refuse,
    RepeatKeys,
    Rule,
    Silence,
    StuckBody,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("short_patience")]

SLOW_DOWN = Refuse(503, "SlowDown")
BROKEN = Refuse(500, "InternalError")
PHOTOS = r"/photos/"
LISTING = r"list-type=2(?!.*_delta_log)"
PASSING = {
    "bursts of 503": [Rule(SLOW_DOWN, share=0.3, first=2, seed=1)],
    "errors 500": [Rule(BROKEN, share=0.3, first=2, seed=2)],
    "bodies that end early": [Rule(CutBody(), "GET", share=0.3, first=2, seed=3)],
    "connections reset after the head": [Rule(CutBody(0.0), "GET", share=0.3, first=2, seed=4)],
    "bodies that stop": [Rule(StuckBody(), "GET", PHOTOS + "red/[12]", first=1)],
    "listings that stop": [Rule(StuckBody(), "GET", r"list-type=2.*(photos|manifests)", first=1)],
    "reads without an answer": [Rule(Silence(), "GET", PHOTOS + "blue/[34]", first=1)],
    "writes without an answer": [Rule(Silence(), "PUT", r"plan|objects/\w{26}/00000", first=1)],
    "writes whose answer is lost": [Rule(LostAnswer(), "PUT", first=1)],
    "slow answers": [Rule(Late(0.2), share=0.1, seed=5)],
    "listings that repeat keys": [Rule(RepeatKeys(), "GET", LISTING)],
}
IN_EVERY_TEST_RUN = {
    "bursts of 503",
    "bodies that end early",
    "writes whose answer is lost",
    "listings that repeat keys",
    "the workspace refuses writes",
    "receipts cannot be written",
    "labels cannot be written",
    "tables cannot be read",
}


def most_in_soak(faults: dict[str, list[Rule]]) -> list[Any]:
    """What is met by the same code, or is waited for, is left to `make soak`."""
    return [
        pytest.param(name, marks=() if name in IN_EVERY_TEST_RUN else pytest.mark.soak)
        for name in faults
    ]


@contextmanager
def reading_tables(site: Site) -> Iterator[None]:
    """Read all tables all the while; each can be, and has all of a run's rows or none."""
    stop, problems = threading.Event(), []

    def read() -> None:
        while not stop.wait(0.02):
            try:
                for table in ("objects", "failures", "predictions/colours"):
                    site.rows(table)
                assert len(site.labels()) in {0, PICTURES}
            except Exception as error:
                problems.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not problems, problems[0]


@pytest.mark.parametrize("name", most_in_soak(PASSING))
def test_what_passes_is_repeated_until_it_has(site, undisturbed, name):
    site.proxy.rules = PASSING[name]
    with reading_tables(site):
        summary = site.score()
    assert site.proxy.met.total() > 0
    assert (summary.counts.done, summary.counts.codes) == (3 * EACH, {"CORRUPT": 1})
    assert site.labels() == undisturbed
    assert len(site.rows("predictions/colours")) == 3 * EACH
    assert site.score().run_id is None


def fails_for(site: Site, name: str, fault: Fault) -> str | None:
    """Score with a fault in the way of one picture; the code that its label then has."""
    site.proxy.rules = [Rule(fault, "GET", f"/photos/{name}")]
    summary = site.score()
    assert summary.counts.failed == 1 + (summary.counts.known_failures == 0)
    return site.labels()[f"/{name}"][2]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Refuse(403, "AccessDenied"), "ACCESS_DENIED"),
        (Refuse(404, "NoSuchKey"), "NOT_FOUND"),
        (Refuse(412, "PreconditionFailed"), "CHANGED"),
        (SLOW_DOWN, "THROTTLED"),
        (Silence(), "TIMEOUT"),
        (CutBody(), "SERVER_ERROR"),
    ],
)
def test_what_lasts_for_one_object_is_its_failure_and_tried_again(site, undisturbed, fault, code):
    assert fails_for(site, "blue/3.jpg", fault) == code
    others = {name: label for name, label in site.labels().items() if name != "/blue/3.jpg"}
    assert others == {name: label for name, label in undisturbed.items() if name != "/blue/3.jpg"}
    site.proxy.rules = []
    site.score()
    assert site.labels() == undisturbed


def test_objects_deleted_or_changed_between_listing_and_reading_are_failures(site, s3, undisturbed):
    client, bucket = s3.client(), site.root.removeprefix("s3://")
    gone = Before(lambda: client.delete_object(Bucket=bucket, Key="photos/red/1.jpg"))
    anew = picture("green", 1)
    other = Before(lambda: client.put_object(Bucket=bucket, Key="photos/red/2.jpg", Body=anew))
    site.proxy.rules = [Rule(gone, "GET", "red/1.jpg"), Rule(other, "GET", "red/2.jpg")]
    assert site.score().counts.codes == {"CHANGED": 1, "CORRUPT": 1, "NOT_FOUND": 1}
    site.proxy.rules = []
    site.score()
    labels = site.labels()
    assert labels.pop("/red/2.jpg")[0] == "green"
    assert labels == {n: v for n, v in undisturbed.items() if n not in {"/red/1.jpg", "/red/2.jpg"}}


LASTING = {
    "the workspace refuses writes": [Rule(Refuse(403, "AccessDenied"), "PUT")],
    "the plan cannot be written": [Rule(BROKEN, "PUT", "plan.parquet")],
    "receipts cannot be written": [Rule(SLOW_DOWN, "PUT", r"predictions/colours/\w+/")],
    "the log cannot be written": [Rule(BROKEN, "PUT", r"objects/_delta_log")],
    "a commit is not answered": [Rule(Silence(), "PUT", r"objects/_delta_log", first=1)],
    "labels cannot be written": [Rule(BROKEN, "PUT", r"labels/colours/.*parquet")],
    "tables cannot be read": [Rule(BROKEN, "GET", "_delta_log")],
    "tables say each commit twice": [Rule(RepeatKeys(), "GET", "list-type=2.*_delta_log")],
    "nothing answers": [Rule(Silence())],
    "everything is refused": [Rule(SLOW_DOWN)],
}


@pytest.mark.parametrize("name", most_in_soak(LASTING))
def test_what_lasts_for_the_workspace_ends_the_run_in_one_line(site, undisturbed, name):
    site.proxy.rules = LASTING[name]
    with reading_tables(site), pytest.raises(LinnaeusError) as caught:
        site.score()
    assert "\n" not in str(caught.value)
    assert site.root in str(caught.value)
    assert site.labels() in ({}, undisturbed)
    site.proxy.rules = []
    site.score()
    assert site.labels() == undisturbed
    assert len(site.rows("predictions/colours")) == 3 * EACH


def test_a_bucket_of_pictures_that_is_down_ends_the_run_and_no_object_is_blamed(
    site, undisturbed, monkeypatch
):
    monkeypatch.setattr(plans.ShardLimits, "for_run", lambda _: plans.ShardLimits(256))
    site.proxy.rules = [Rule(SLOW_DOWN, "GET", PHOTOS + r"\w+/")]
    with pytest.raises(LinnaeusError, match="is down or too busy, 16 requests") as caught:
        site.score()
    assert "run the same command again" in str(caught.value)
    assert site.rows("failures") == []
    site.proxy.rules = []
    site.score()
    assert site.labels() == undisturbed


@pytest.mark.parametrize("clock", ["right", "a day behind"])
def test_the_newest_failure_is_what_the_labels_say_whatever_the_clock(site, clock, monkeypatch):
    assert fails_for(site, "blue/3.jpg", Refuse(403, "AccessDenied")) == "ACCESS_DENIED"
    if clock != "right":
        monkeypatch.setattr("linnaeus.worker.rows.datetime", Yesterday)
    assert fails_for(site, "blue/3.jpg", Refuse(404, "NoSuchKey")) == "NOT_FOUND"
    site.proxy.rules = []
    site.score()
    assert site.labels()["/blue/3.jpg"][0] == "blue"


class Yesterday(datetime):
    """A clock that was set back."""

    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) - timedelta(days=1)

"""Receivers are notified by real HTTP; whatever they do, a workflow run only gets a line."""

import json
import re
import time

import boto3
import pytest

from linnaeus.workflow import time_limits
from linnaeus.workflow.file.config import Notifications
from linnaeus.workflow.notifications import notify, sns, webhook
from linnaeus.workflow.notifications.sns import MESSAGE_BYTES, SUBJECT_CHARACTERS, message, subject
from linnaeus.workflow.summary.summary import ImageCounts, ModelChange
from linnaeus.workflow.summary.text import text
from tests.linnaeus.workflow.receivers import DRIP, HANG, receiver
from tests.linnaeus.workflow.workflow_runs import summary_of

PATH = "/services/T000/secret-part"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(webhook, "BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(webhook, "TIMEOUT_SECONDS", 0.3)


def line_of(monkeypatch, url, summary=None, **settings):
    monkeypatch.setenv("HOOK", url)
    [line] = notify(Notifications(webhook="env:HOOK", **settings), summary or summary_of())
    assert "secret" not in line
    return line


def test_a_webhook_gets_the_text_and_the_summary(monkeypatch):
    summary = summary_of(headline="été done")
    with receiver() as there:
        assert (
            line_of(monkeypatch, there.url + PATH + "?x=1", summary)
            == "webhook 127.0.0.1: notified"
        )
    [(method, path, headers, body)] = there.came
    assert (method, path) == ("POST", PATH + "?x=1")
    assert headers["content-type"] == "application/json"
    posted = json.loads(body)
    assert posted["text"] == text(summary)
    assert posted["summary"] == json.loads(summary.to_json())


def test_user_and_password_in_a_url_are_sent_as_such(monkeypatch):
    with receiver() as there:
        url = there.url.replace("://", "://nightly:secret@")
        assert line_of(monkeypatch, url).endswith("notified")
    assert there.came[0][2]["authorization"] == "Basic bmlnaHRseTpzZWNyZXQ="


@pytest.mark.parametrize(
    ("answers", "attempts", "line"),
    [
        ([500, 200], 2, "webhook 127.0.0.1: notified"),
        ([429, 503, 204], 3, "webhook 127.0.0.1: notified"),
        ([500], 3, "webhook 127.0.0.1: not notified: it answers 500"),
        ([404], 1, "webhook 127.0.0.1: not notified: it answers 404"),
        ([HANG, 200], 2, "webhook 127.0.0.1: notified"),
        ([HANG], 3, "webhook 127.0.0.1: not notified: no answer within 0.3 s"),
    ],
)
def test_what_may_pass_is_tried_again(monkeypatch, answers, attempts, line):
    with receiver(*answers) as there:
        there.hang_seconds = 0.6
        assert line_of(monkeypatch, there.url + PATH) == line
    assert len(there.came) == attempts


def test_an_answer_that_never_ends_holds_no_run_up(monkeypatch):
    monkeypatch.setattr(time_limits, "LONGEST_SECONDS", 0.4)
    with receiver(DRIP) as there:
        started = time.monotonic()
        assert (
            line_of(monkeypatch, there.url + PATH) == "webhook: not notified: not done within 0.4 s"
        )
        assert time.monotonic() - started < 1.5


def test_redirects_are_not_followed(monkeypatch):
    with receiver(302) as there:
        line = line_of(monkeypatch, there.url + PATH)
    assert line == (
        "webhook 127.0.0.1: not notified: it answers 302: redirects are not followed, "
        "set its newest URL"
    )
    assert len(there.came) == 1


@pytest.mark.parametrize(
    ("url", "line"),
    [
        (
            "http://127.0.0.1:1" + PATH,
            "webhook 127.0.0.1: not notified: cannot be reached: Connection",
        ),
        (
            "ftp://secret",
            "webhook: not notified: HOOK holds no http:// or https:// URL",
        ),
        ("secret", "webhook: not notified: HOOK holds no http:// or https:// URL"),
        (
            "http://h:secret/",
            "webhook: not notified: HOOK holds no http:// or https:// URL",
        ),
        (
            "http://127.0.0.1:1/secret part",
            "webhook 127.0.0.1: not notified: cannot be reached: Connection refused",
        ),
        ("http://127.0.0.1:1/secrèt/secret", "webhook"),
        ("  ", "webhook: not notified: the environment variable HOOK is not set"),
    ],
)
def test_a_url_that_is_none_is_a_line_without_it(monkeypatch, caplog, url, line):
    caplog.set_level("DEBUG")
    assert line_of(monkeypatch, url).startswith(line)
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("when", "fields", "expected"),
    [
        ("always", {"counts": ImageCounts(listed=9)}, True),
        ("changes", {"counts": ImageCounts(listed=9)}, False),
        ("changes", {}, True),
        ("changes", {"counts": ImageCounts(), "model": ModelChange("m", 1, 2, None)}, True),
        ("changes", {"counts": ImageCounts(), "status": "failed"}, True),
        ("trouble", {}, False),
        ("trouble", {"status": "refused"}, True),
    ],
)
def test_who_wants_to_know_when(monkeypatch, when, fields, expected):
    with receiver() as there:
        line = line_of(monkeypatch, there.url, summary_of(**fields), when=when)
    assert len(there.came) == expected
    assert line.startswith("webhook" if expected else "nobody was notified")


def test_nobody_to_tell_is_no_line():
    assert notify(Notifications(), summary_of()) == []


def test_an_error_that_nobody_foresaw_is_a_line(monkeypatch):
    def broken(*_):
        raise RuntimeError("https://secret")

    monkeypatch.setattr(webhook, "post", broken)
    assert notify(Notifications(webhook="env:X"), summary_of()) == [
        "webhook: not notified: RuntimeError"
    ]


def test_a_subject_is_short_plain_ascii():
    for headline in ("nightly failed in embed: " + "é\n" * 200, "short"):
        found = subject(summary_of(headline=headline))
        assert re.fullmatch(r"[ -~]{1,99}", found)
    assert len(subject(summary_of(headline="x" * 300))) == SUBJECT_CHARACTERS


def test_a_message_that_would_be_too_long_is_the_text_alone():
    summary = summary_of(forecast={"rows": ["x" * 100] * 1000})
    assert json.loads(message(summary)) == {"default": text(summary)}
    assert len(message(summary)) < MESSAGE_BYTES


@pytest.fixture(scope="module")
def aws():
    """SNS and SQS on a loopback port."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def account(aws, monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL": aws,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "whatever",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)


def clients(region):
    return boto3.client("sns", region_name=region), boto3.client("sqs", region_name=region)


@pytest.mark.slow
def test_a_topic_tells_its_subscribers(account):
    topics, queues = clients("eu-central-1")
    topic = topics.create_topic(Name="runs")["TopicArn"]
    url = queues.create_queue(QueueName="runs")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    arn = arn["Attributes"]["QueueArn"]
    topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    summary = summary_of(status="failed", exit=1, headline="nightly failed in embed: é")
    assert notify(Notifications(sns_topic=topic), summary) == ["SNS topic runs: notified"]
    [came] = queues.receive_message(QueueUrl=url)["Messages"]
    envelope = json.loads(came["Body"])
    assert envelope["Subject"] == "nightly failed in embed: ?"
    assert json.loads(envelope["Message"]) == json.loads(summary.to_json())
    attributes = {name: one["Value"] for name, one in envelope["MessageAttributes"].items()}
    assert attributes == {
        "status": "failed",
        "workflow": "nightly",
        "workflow_run": summary.workflow_run,
    }


@pytest.mark.slow
def test_a_topic_that_is_not_there_is_a_line(account):
    arn = "arn:aws:sns:us-east-1:123456789012:typo"
    [line] = notify(Notifications(sns_topic=arn), summary_of())
    assert line.startswith("SNS topic typo: not notified: NotFound: ")


@pytest.mark.slow
def test_an_endpoint_that_is_down_is_a_line(account, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(sns, "ATTEMPTS", 1)
    [line] = notify(
        Notifications(sns_topic="arn:aws:sns:us-east-1:123456789012:runs"), summary_of()
    )
    assert line.startswith("SNS topic runs: not notified: Could not connect")

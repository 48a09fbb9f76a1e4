"""Files of changed keys, in every form that events come in."""

import gzip
import json
from urllib.parse import quote_plus

import pytest

from linnaeus.errors import ConfigurationError
from linnaeus.manifests.storage_events import read_changes

SOURCE = "s3://photos/2026"
KEY = "2026/mai é/a+b 1.jpg"
URI = f"s3://photos/{KEY}"


def notification(key=KEY, name="ObjectCreated:Put", bucket="photos"):
    described = {
        "bucket": {"name": bucket},
        "object": {"key": quote_plus(key, safe="/"), "size": 3},
    }
    return {"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": name, "s3": described}


def bridged(key=KEY, kind="Object Created", bucket="photos"):
    detail = {"bucket": {"name": bucket}, "object": {"key": key, "sequencer": "0062E9"}}
    return {"version": "0", "detail-type": kind, "source": "aws.s3", "detail": detail}


RECORDS = {"Records": [notification()]}
TEST_EVENT = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "photos"}
SNS = {"Type": "Notification", "MessageId": "1", "Message": json.dumps(RECORDS)}
FORMS = {
    "S3": RECORDS,
    "S3 through EventBridge": bridged(),
    "S3, removed": {"Records": [notification(name="ObjectRemoved:DeleteMarkerCreated")]},
    "S3, by lifecycle": {"Records": [notification(name="s3:LifecycleExpiration:Delete")]},
    "EventBridge, deleted": bridged(kind="Object Deleted"),
    "SNS": SNS,
    "Lambda of SNS": {
        "Records": [{"EventSource": "aws:sns", "Sns": {"Message": json.dumps(RECORDS)}}]
    },
    "Lambda of SQS": {"Records": [{"messageId": "1", "body": json.dumps(RECORDS)}]},
    "SQS": {"Messages": [{"MessageId": "1", "Body": json.dumps(bridged())}]},
    "SQS of SNS": {"MessageId": "1", "Body": json.dumps(SNS)},
    "JSON line": {"uri": URI, "deleted": True},
    "JSON line of a key": {"uri": KEY},
}


def read(tmp_path, text, name="changes", source=SOURCE):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_changes(str(path), source))


def test_google_cloud_storage_publishes_keys_as_they_are(tmp_path):
    said = {"eventType": "OBJECT_FINALIZE", "bucketId": "photos", "objectId": KEY}
    pulled = [{"ackId": "1", "message": {"attributes": said, "data": "e30="}}]
    assert read(tmp_path, json.dumps(pulled), source="gs://photos") == [f"gs://photos/{KEY}"]
    other = {"attributes": {**said, "eventType": "OBJECT_METADATA_UPDATE"}}
    assert read(tmp_path, json.dumps(other), source="gs://photos") == [None]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_names_the_object(tmp_path, form):
    assert read(tmp_path, json.dumps(FORMS[form])) == [URI]
    assert read(tmp_path, json.dumps([FORMS[form], FORMS[form]])) == [URI, URI]
    assert read(tmp_path, json.dumps([FORMS[form], TEST_EVENT], indent=2)) == [URI, None]


def test_forms_may_be_mixed_line_by_line(tmp_path):
    lines = [*map(json.dumps, FORMS.values()), KEY, "", URI + "\r"]
    assert read(tmp_path, "\n".join(lines)) == [URI] * (len(FORMS) + 2)
    assert read(tmp_path, "".join(map(json.dumps, FORMS.values()))) == [URI] * len(FORMS)
    assert read(tmp_path, "﻿" + KEY) == [URI]


@pytest.mark.parametrize(
    "event",
    [
        TEST_EVENT,
        {"Type": "SubscriptionConfirmation", "Message": "You have chosen to subscribe"},
        {"Records": [notification(name="ObjectTagging:Put")]},
        bridged(kind="Object Tags Added"),
    ],
)
def test_events_that_change_no_object_are_passed_over(tmp_path, event):
    assert read(tmp_path, json.dumps(event)) == [None]
    assert read(tmp_path, json.dumps({"Records": [{"body": json.dumps(event)}]})) == [None]


def test_a_folder_is_read_file_by_file_also_compressed(tmp_path):
    for name, text in (("b/2.txt", "2026/2.jpg"), ("1.txt", "2026/1.jpg"), ("_SUCCESS", "{")):
        path = tmp_path / "night" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "night" / "c.gz").write_bytes(gzip.compress(b"2026/3.jpg\n"))
    found = list(read_changes(str(tmp_path / "night"), SOURCE))
    assert found == [f"s3://photos/2026/{number}.jpg" for number in (1, 2, 3)]
    (tmp_path / "empty").mkdir()
    assert list(read_changes(f"{tmp_path}/empty/", SOURCE)) == []
    assert read(tmp_path, "") == []


def test_lines_of_a_folder_of_this_machine_are_paths_below_it(tmp_path):
    lines = "cats/1.jpg\n./cats/2.jpg\n/elsewhere/3.jpg\nfile:///pics/4.jpg\n"
    expected = ["/pics/cats/1.jpg", "/pics/cats/2.jpg", "/elsewhere/3.jpg", "/pics/4.jpg"]
    assert read(tmp_path, lines, source="/pics") == expected


def test_an_image_of_this_machine_has_one_path_however_it_is_written(tmp_path):
    names = ("cats//1.jpg", "cats/./1.jpg", "x/../cats/1.jpg", "//pics//cats/1.jpg")
    assert set(read(tmp_path, "\n".join(names), source="/pics")) == {"/pics/cats/1.jpg"}
    assert read(tmp_path, "a//1.jpg") == ["s3://photos/a//1.jpg"]


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ('a.jpg\n{"uri": "b.jpg"\n', ":2:", "not JSON"),
        ('{"uri": "b.jpg"}\n{"uri": 3}\n', ":2:", "no event"),
        ('{"uri": "b.jpg"}\n\n["a.jpg", 5]\n', ":3:", "5 is no event"),
        ('[\n {"uri": "b.jpg"},\n oops\n]', ":3:", "not JSON"),
        ('[\n {"uri": "b.jpg"},\n {"url": 1}\n]', ": event 2:", "no event"),
        ("a.jpg\nhttp://host/b.jpg\n", ":2:", "cannot read http://"),
        (b"a.jpg\n\xff\xfe.jpg\n", ":2:", "not UTF-8"),
        ('{"uri": "\\ud800.jpg"}', ":1:", "not Unicode"),
        pytest.param("[" * 100_000, ":", "nested too deep", id="deep"),
        ('{"Records": [{"body": "hello"}]}', ":1:", "not JSON"),
        ('{"Records": [{"eventName": "ObjectCreated:Put", "s3": {}}]}', ":1:", "no bucket and key"),
        ('{"detail-type": "Object Created"}', ":1:", "no bucket and key"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(tmp_path, text, where, words):
    with pytest.raises(ConfigurationError) as told:
        read(tmp_path, text)
    assert f"{tmp_path}/changes{where}" in str(told.value)
    assert words in str(told.value)


def test_what_is_not_there_or_not_gzip_is_told(tmp_path):
    with pytest.raises(ConfigurationError, match="there is no file"):
        list(read_changes(str(tmp_path / "night"), SOURCE))
    with pytest.raises(ConfigurationError, match="not gzip"):
        read(tmp_path, "a.jpg", name="night.gz")

"""A workflow run's summary on an SNS topic: text for people, JSON for queues and functions."""

import json
from typing import Any

from linnaeus.workflow.summary.summary import Summary
from linnaeus.workflow.summary.text import text

SUBJECT_CHARACTERS = 99
"""SNS takes ASCII of fewer than 100."""
MESSAGE_BYTES = 256 << 10
"""What SNS takes, of all forms together."""
TIMEOUT_SECONDS = 10
ATTEMPTS = 3
_MACHINES = ("sqs", "lambda", "http", "https", "firehose")


def publish(topic: str, summary: Summary) -> str:
    """Publish the summary; a line that says whether the topic took it."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    name = topic.rpartition(":")[2]
    try:
        _client(boto3, topic).publish(TopicArn=topic, **_message(summary))
    except ClientError as error:
        answer = error.response.get("Error", {})
        return (
            f"SNS topic {name}: not notified: {answer.get('Code')}: {_line(answer.get('Message'))}"
        )
    except (BotoCoreError, ValueError) as error:
        return f"SNS topic {name}: not notified: {_line(error)}"
    return f"SNS topic {name}: notified"


def _line(message: object) -> str:
    return " ".join(str(message).split())


def _client(boto3: Any, topic: str) -> Any:
    """A client for the topic's own region: `arn:aws:sns:REGION:ACCOUNT:NAME`."""
    from botocore.config import Config

    config = Config(
        connect_timeout=TIMEOUT_SECONDS,
        read_timeout=TIMEOUT_SECONDS,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
    )
    return boto3.client("sns", region_name=topic.split(":")[3], config=config)


def _message(summary: Summary) -> dict[str, Any]:
    names = ("status", "workflow", "workflow_run")
    return {
        "Subject": subject(summary),
        "Message": message(summary),
        "MessageStructure": "json",
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": getattr(summary, name)} for name in names
        },
    }


def subject(summary: Summary) -> str:
    """The headline as SNS takes it: one line of ASCII."""
    plain = summary.headline.encode("ascii", "replace").decode()
    line = " ".join("".join(one if one.isprintable() else " " for one in plain).split())
    return line if len(line) <= SUBJECT_CHARACTERS else f"{line[: SUBJECT_CHARACTERS - 3]}..."


def message(summary: Summary) -> str:
    """A JSON object of what each kind of subscriber gets; the text alone where JSON is too long."""
    plain = text(summary)
    whole = json.dumps(summary.to_dict(), separators=(",", ":"))
    forms = json.dumps({"default": plain, **dict.fromkeys(_MACHINES, whole)})
    if len(forms) <= MESSAGE_BYTES:
        return forms
    return json.dumps({"default": plain})

"""A workflow run's summary posted to a URL, in the form that chat programs' webhooks take.

The JSON has the text for people as `text`, which is what Slack, Mattermost, Rocket.Chat and Teams
show, and the whole summary as `summary`. The URL is itself the secret, so it comes from the
environment, and only its host is ever shown.
"""

import json
import os
import time
from base64 import b64encode
from dataclasses import dataclass
from http.client import HTTPException, InvalidURL
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from linnaeus.workflow.summary.summary import Summary
from linnaeus.workflow.summary.text import text

FROM_ENVIRONMENT = "env:"
TIMEOUT_SECONDS = 10.0
PAUSES_SECONDS = (1.0, 4.0)
"""Between attempts."""


@dataclass(frozen=True)
class _Answer:
    """What came of one attempt."""

    reason: str
    """Empty where the receiver took it."""
    may_pass: bool = False


def post(webhook: str, summary: Summary) -> str:
    """Post the summary; a line that says whether it was taken.

    Args:
        webhook: `env:VARIABLE`, which holds the URL.
        summary: of the run.
    """
    variable = webhook.removeprefix(FROM_ENVIRONMENT)
    address = os.environ.get(variable, "").strip()
    if not address:
        return f"webhook: not notified: the environment variable {variable} is not set"
    url = _parsed(address)
    if url is None:
        return f"webhook: not notified: {variable} holds no http:// or https:// URL"
    answer = _with_retries(url, _body(summary))
    if answer.reason:
        return f"webhook {url.hostname}: not notified: {answer.reason}"
    return f"webhook {url.hostname}: notified"


def _parsed(address: str) -> SplitResult | None:
    try:
        url = urlsplit(address)
        valid = url.scheme in ("http", "https") and url.hostname and (url.port or 1)
    except ValueError:
        return None
    return url if valid else None


def _body(summary: Summary) -> bytes:
    """ASCII, whatever files are called."""
    return json.dumps({"text": text(summary), "summary": summary.to_dict()}).encode("ascii")


def _with_retries(url: SplitResult, body: bytes) -> _Answer:
    answer = _once(url, body)
    for pause_seconds in PAUSES_SECONDS:
        if not answer.may_pass:
            break
        time.sleep(pause_seconds)
        answer = _once(url, body)
    return answer


def _once(url: SplitResult, body: bytes) -> _Answer:
    """One attempt. An exception's own text may have the URL, so it is not shown."""
    try:
        return _answer_of(_status(url, body))
    except InvalidURL:
        return _Answer("its URL has characters that no URL has")
    except HTTPException as error:
        return _Answer(f"it answers what is no HTTP: {type(error).__name__}", may_pass=True)
    except OSError as error:
        return _Answer(_reason(error), may_pass=True)


def _reason(error: OSError) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS:g} s"
    known = cause.strerror if isinstance(cause, OSError) else None
    return f"cannot be reached: {known or type(cause).__name__}"


class _NoRedirects(HTTPRedirectHandler):
    """Whoever redirects might send the summary anywhere."""

    def redirect_request(self, *_: Any) -> None:
        """Follows none: the answer stays as it is."""


def _status(url: SplitResult, body: bytes) -> int:
    """The status of the answer, whose body nobody reads."""
    headers = {"Content-Type": "application/json", "User-Agent": "linnaeus"}
    userinfo, at, host = url.netloc.rpartition("@")
    if at:
        headers["Authorization"] = f"Basic {b64encode(unquote(userinfo).encode()).decode()}"
    address = url._replace(netloc=host, fragment="").geturl()
    request = Request(address, body, headers, method="POST")
    try:
        with build_opener(_NoRedirects).open(request, timeout=TIMEOUT_SECONDS) as response:
            return int(response.status)
    except HTTPError as error:
        error.close()
        return error.code


def _answer_of(status: int) -> _Answer:
    if 200 <= status < 300:
        return _Answer("")
    if 300 <= status < 400:
        return _Answer(f"it answers {status}: redirects are not followed, set its newest URL")
    return _Answer(f"it answers {status}", may_pass=status >= 500 or status in (408, 429))

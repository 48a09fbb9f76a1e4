"""A workflow run's summary posted to a URL, in the form that chat programs' webhooks take.

The JSON has the text for people as `text`, which is what Slack, Mattermost, Rocket.Chat and Teams
show, and the whole summary as `summary`. The URL is itself the secret, so it comes from the
environment, and only its host is ever shown.
"""

import json
import os
from urllib.parse import SplitResult, urlsplit

from linnaeus.workflow.summary.summary import Summary
from linnaeus.workflow.summary.text import text
from linnaeus.workflow.time_limits import unlogged, unreached

FROM_ENVIRONMENT = "env:"
TIMEOUT_SECONDS = 10.0
MORE_ATTEMPTS, BACKOFF_SECONDS = 2, 2.0
"""One more at once, then one after twice the time."""
_MAY_PASS = (408, 429, *range(500, 600))


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
    refusal = _refusal(url, _body(summary))
    told = f"not notified: {refusal}" if refusal else "notified"
    return f"webhook {url.hostname}: {told}"


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


def _refusal(url: SplitResult, body: bytes) -> str:
    """Why the receiver did not take it; empty where it did. Of an answer nobody reads the body.

    Whoever redirects might send the summary anywhere, and an error's own text may have the URL.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import Retry

    retries = Retry(
        MORE_ATTEMPTS,
        allowed_methods=None,
        status_forcelist=_MAY_PASS,
        backoff_factor=BACKOFF_SECONDS,
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    headers = {"Content-Type": "application/json", "User-Agent": "linnaeus"}
    with unlogged("urllib3"), requests.Session() as session:
        session.mount(f"{url.scheme}://", HTTPAdapter(max_retries=retries))
        try:
            answer = session.post(
                url.geturl(),
                body,
                headers=headers,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
                stream=True,
            )
        except requests.RequestException as error:
            return unreached(error, TIMEOUT_SECONDS)
    if 300 <= answer.status_code < 400:
        return f"it answers {answer.status_code}: redirects are not followed, set its newest URL"
    return "" if answer.ok else f"it answers {answer.status_code}"

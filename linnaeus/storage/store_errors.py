"""What obstore, boto3 and delta-rs raise, as one line with a remedy."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from linnaeus.errors import FailureCode, LinnaeusError, StorageError
from linnaeus.storage import retries

_DELTA_CAUSE = re.compile(r"\s{0,99}(?:\x1b\[\d{1,3}m)?↳(?:\x1b\[0m)?\s*")
"""delta-rs puts each cause of an error on a line of its own, in colour."""

_COLOUR = re.compile(r"\x1b\[[\d;]*m")

_IMPORTING = threading.Lock()


def import_obstore() -> Any:
    """The library, imported when it is first used, and by one thread at a time.

    Its modules import each other, which many threads at once do not survive.
    """
    with _IMPORTING:
        import obstore.exceptions
        import obstore.store

        return obstore


@contextmanager
def map_store_errors(doing: str, uri: str) -> Iterator[None]:
    """Turn what obstore, boto3 and delta-rs raise into a `StorageError` of one line, with a remedy.

    Raises:
        StoreUnavailable: the bucket has given no answers for too long.
    """
    budget = retries.budget_of(_bucket_of(uri))
    try:
        yield
    except LinnaeusError:
        raise
    except Exception as e:
        error = _storage_error(doing, uri, e)
        error.__cause__ = e
        if _refuses(e):
            budget.answered()
        else:
            budget.failed(error)
        raise error from e
    budget.answered()


def _bucket_of(uri: str) -> str:
    return "/".join(uri.split("/")[:3])


def breaks_off(error: Exception) -> bool:
    """Whether an answer came only in part, to a request that obstore does not repeat."""
    return "response body error" in str(error)


def got_no_answer(error: Exception) -> bool:
    """Whether a request waited in vain, which obstore does not repeat where it wrote."""
    return "kind: Timeout" in str(error) or "timed out" in str(error)


def _refuses(error: Exception) -> bool:
    """Whether the store said that it will not, however often it is asked."""
    status = _status(error)
    return status.startswith(("3", "4")) and status not in {"408", "429"}


def _status(error: Exception) -> str:
    """HTTP status of an error of obstore, delta-rs or boto3; empty if it has none."""
    answer = getattr(error, "response", None) or {}  # boto3's
    found = _first(r"status code: (\d{3})", str(error))
    return found or str(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))


def _storage_error(doing: str, uri: str, error: Exception) -> StorageError:
    code, problem = _diagnosis(uri, error)
    return StorageError(f"cannot {doing} {uri}: {problem}", code)


def _diagnosis(uri: str, error: Exception) -> tuple[FailureCode, str]:
    text = _COLOUR.sub("", _DELTA_CAUSE.sub(": ", str(error)))
    answer = getattr(error, "response", None) or {}  # boto3's
    status = _status(error)
    reason = _first(r"<Code>(\w+)</Code>", text) or answer.get("Error", {}).get("Code") or status
    bucket = _bucket_of(uri)
    if isinstance(error, import_obstore().exceptions.PreconditionError) or status == "412":
        return FailureCode.CHANGED, "it changed since it was listed: run again"
    if reason == "NoSuchBucket":
        return FailureCode.NOT_FOUND, f"no bucket {bucket}: check its name and AWS_ENDPOINT_URL"
    if isinstance(error, FileNotFoundError) or status == "404":
        return FailureCode.NOT_FOUND, "there is no such object"
    if status in {"401", "403"}:
        remedy = f"check the credentials and what they may do in {bucket}"
        return FailureCode.ACCESS_DENIED, f"access denied ({reason}): {remedy}"
    if status in {"429", "503"}:
        return FailureCode.THROTTLED, f"the store is too busy ({reason}): run again"
    if status == "301":
        return FailureCode.SERVER_ERROR, "the bucket is in another region: set AWS_REGION"
    if "kind: Connect" in text:
        endpoint = _first(r"(https?://[^/ ]+)", text)
        return FailureCode.TIMEOUT, f"no answer from {endpoint}: check the endpoint and the network"
    if "kind: Timeout" in text or "timed out" in text or "imeout" in type(error).__name__:
        return FailureCode.TIMEOUT, "no answer in time: run again"
    return FailureCode.SERVER_ERROR, f"the store failed: {reason or text.partition(chr(10))[0]}"


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found.group(1) if found else ""


def first_line(error: Exception) -> str:
    """What an error says, without what follows."""
    return str(error).partition("\n")[0]

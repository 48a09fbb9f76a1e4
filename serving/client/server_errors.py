"""What is wrong with a model server, in one line with a remedy."""

import re

import grpc

from linnaeus.errors import FailureCode, ServingError
from linnaeus.images import refusals
from linnaeus.plain_text import plain
from serving.client.retries import TRIES_IN_TIME

_WHERE = re.compile(r"\[\[\{\{.*")
"""Which operations of the graph refused: names that say nothing to those who sent an image."""
_ASSERTION = re.compile(r"assertion failed: \[(.{0,999}?)\]")

_LARGEST_BATCH = re.compile(r"larger than maximum input batch size (\d{1,9})\b")
"""TensorFlow's words, in `basic_batch_scheduler.h`."""
MOST_CHARACTERS = 1000
"""Of what a server says: TensorFlow's words come after its operations' names."""


def not_served(address: str, model: str, version: int | None, reason: str) -> ServingError:
    """The server has no such model or version, or no longer."""
    what = f"version {version} of model {model}" if version is not None else f"model {model}"
    return ServingError(
        f"{address} does not serve {what} ({reason});"
        f" start a server with it, `linnaeus serve --model {_named(model, version)}`, and run the"
        " same command again: what is done is kept",
        FailureCode.NOT_FOUND,
    )


def failed(address: str, error: grpc.RpcError, model: str, deadline_seconds: float) -> ServingError:
    """The server failed, for a reason that no row is to blame for."""
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            return ServingError(
                f"no model server answers at {address} ({one_line(error)});"
                f" {_remedy(one_line(error), model)}"
            )
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return ServingError(
                f"{address} did not answer within {deadline_seconds:g} s,"
                f" {TRIES_IN_TIME} times;"
                " send fewer rows a request, or give the server more cores",
                FailureCode.TIMEOUT,
            )
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return ServingError(
                f"{address} is overloaded ({one_line(error)});"
                " add servers, or run the same command again when it has less to do",
                FailureCode.THROTTLED,
            )
        case grpc.StatusCode.UNIMPLEMENTED:
            return ServingError(
                f"what listens at {address} is not TensorFlow Serving"
                f" ({one_line(error)}); correct the address"
            )
    return ServingError(f"{address} failed: {error.code().name}: {one_line(error)}; see its log")


def one_line(error: grpc.RpcError) -> str:
    """The server's own words, as far as a terminal and a table can bear them."""
    words = " ".join((error.details() or error.code().name).split())
    return plain(words)[:MOST_CHARACTERS]


def _named(model: str, version: int | None) -> str:
    return model if version is None else f"{model}:{version}"


def _remedy(reason: str, model: str) -> str:
    """What to do where gRPC found no server, which a wrong port or TLS looks like, too."""
    if "WRONG_VERSION_NUMBER" in reason:
        return "it speaks no TLS: name it without grpcs://"
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return "name the authority that it was certified by in GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
    if "HTTP/2" in reason:
        return "name its port for gRPC, not the one for REST"
    return (
        f"start one with `linnaeus serve --model {model}`, or correct the address: HOST:PORT"
        " with its port for gRPC, not for REST (grpcs:// for a server that speaks TLS)"
    )


def largest_batch(text: str, rows: int) -> int:
    """Most rows of a request: `rows`, or fewer if that is why one was refused."""
    found = _LARGEST_BATCH.search(text)
    return max(1, min(rows, int(found[1]))) if found else rows


def read_refusal(text: str) -> tuple[FailureCode, str]:
    """Code and words of why a picture is refused, without the names of a graph's operations."""
    short = _WHERE.sub("", text).rstrip() or text
    found = _ASSERTION.search(short)
    return refusals.read(found[1] if found else short)

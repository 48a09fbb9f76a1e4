"""Counts the inferences that are asked for over REST, as they are answered."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc

from serving.grpc_status import StatusError
from serving.rest.routes import Route, route_of

Record = Callable[[str, grpc.StatusCode, str, str, float], None]
"""Told the model, code, call, entry point and seconds of each inference."""


@contextmanager
def recorded(record: Record | None, method: str, path: str) -> Iterator[None]:
    """Tell `record` how the inference ended that a request asks for, if it asks for one."""
    started, code = time.monotonic(), grpc.StatusCode.OK
    try:
        yield
    except StatusError as error:
        code = error.code
        raise
    except Exception:
        code = grpc.StatusCode.INTERNAL
        raise
    finally:
        if record and (route := _inference(method, path)):
            seconds = time.monotonic() - started
            record(route.name, code, route.action, "REST", seconds)


def _inference(method: str, path: str) -> Route | None:
    try:
        return route_of(method, path) if method == "POST" else None
    except StatusError:
        return None

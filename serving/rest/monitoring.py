"""Counts the inferences that are asked for over REST, as they are answered."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc

from serving.status import StatusError

Record = Callable[[str, grpc.StatusCode, str, str, float], None]
"""Told the model, code, call, entry point and seconds of each inference."""

_INFERENCE = re.compile(r"/v1/models/([^/:]+)(?:/[^:]*)?:(predict|classify|regress)", re.IGNORECASE)


@contextmanager
def recorded(record: Record | None, path: str) -> Iterator[None]:
    """Tell `record` how the inference ended that a request's path asks for, if it asks for one."""
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
        if record and (match := _INFERENCE.fullmatch(path)):
            record(match[1], code, match[2].lower(), "REST", time.monotonic() - started)

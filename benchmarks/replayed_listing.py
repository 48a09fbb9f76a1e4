"""A server that answers S3's list requests about a bucket of any size, and holds none of its keys.

    python -m benchmarks.replayed_listing OBJECTS

prints its port, serves until its input ends, and then prints how many requests it answered. The
keys are those of `scale_data`, so folders have 10,000 objects. It answers as fast as it can, which
no real store does: a page of S3 takes a tenth of a second or more, and is awaited side by side.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO
from urllib.parse import parse_qs, urlsplit

from benchmarks.scale_data import BUCKET, FOLDER_OBJECTS, key

PAGE_KEYS = 1000
_LAST = "\U0010ffff"
_CONTENT = (
    "<Contents><Key>{}</Key><LastModified>2024-09-01T00:00:00.000Z</LastModified>"
    '<ETag>"{:032x}"</ETag><Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>'
)


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{_of(process.stdout).readline().strip()}",
            "AWS_SKIP_SIGNATURE": "true",
            "AWS_REGION": "us-east-1",
        }

    def requests(self) -> int:
        """How many requests it has answered."""
        _of(self._process.stdin).write("\n")
        _of(self._process.stdin).flush()
        return int(_of(self._process.stdout).readline())


@contextmanager
def serve(objects: int) -> Iterator[Server]:
    """A server in a process of its own, for a bucket of so many objects."""
    command = [sys.executable, "-m", "benchmarks.replayed_listing", str(objects)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:  # closes its input in the end, at which it ends, and waits
        yield Server(process)


def _of(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


class _Keys:
    """All keys in order, made when they are looked at."""

    def __init__(self, objects: int) -> None:
        self._objects = objects

    def __len__(self) -> int:
        return self._objects

    def __getitem__(self, number: int) -> str:
        return key(number)


class _Listing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    keys = _Keys(0)
    answered = 0

    def do_GET(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        body = f"<ListBucketResult>{self._result(query)}</ListBucketResult>".encode()
        type(self).answered += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _result(self, query: dict[str, str]) -> str:
        prefix = query.get("prefix", "")
        after = query.get("continuation-token") or query.get("start-after", "")
        first = bisect_left(self.keys, max(prefix, after + "\0" if after else ""))
        end = bisect_left(self.keys, prefix + _LAST)
        if (
            "delimiter" in query
            and prefix.count("/") < 2
            and "/" in self.keys[first][len(prefix) :]
        ):
            return self._folders(prefix, first, end)
        last = min(first + PAGE_KEYS, end)
        contents = (
            _CONTENT.format(self.keys[n], n, 100_000 + n % 1000) for n in range(first, last)
        )
        return f"{self._truncated(last < end, last)}{''.join(contents)}"

    def _folders(self, prefix: str, first: int, end: int) -> str:
        """A page of the folders below `prefix`; the token is the last key of the last one."""
        step = FOLDER_OBJECTS if prefix else end
        last = min(first + PAGE_KEYS * step, end)
        names = (
            prefix + self.keys[n][len(prefix) :].partition("/")[0] + "/"
            for n in range(first, last, step)
        )
        found = "".join(f"<CommonPrefixes><Prefix>{n}</Prefix></CommonPrefixes>" for n in names)
        return f"{self._truncated(last < end, last)}{found}"

    def _truncated(self, more: bool, last: int) -> str:
        token = f"<NextContinuationToken>{self.keys[last - 1]}</NextContinuationToken>"
        return f"<Name>{BUCKET}</Name><IsTruncated>{str(more).lower()}</IsTruncated>" + (
            token if more else ""
        )

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def _main() -> None:
    _Listing.keys = _Keys(int(sys.argv[1]))
    with ThreadingHTTPServer(("127.0.0.1", 0), _Listing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_port, flush=True)
        for _ in sys.stdin:
            print(_Listing.answered, flush=True)
        server.shutdown()


if __name__ == "__main__":
    _main()

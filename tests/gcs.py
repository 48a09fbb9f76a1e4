"""Google Cloud Storage's XML API in front of the S3 server, as far as obstore and delta-rs use it.

The two APIs are alike but for how they sign and how they say "only if it is not there". What Google
does otherwise is not seen here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qsl, quote, unquote, urlencode
from urllib.request import HTTPErrorProcessor, Request, build_opener

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

PASSED_ON = ("content-type", "range", "if-match", "if-none-match")
ANSWERED = ("etag", "last-modified", "content-type", "content-range")


class _AnyStatus(HTTPErrorProcessor):
    def http_response(self, request, response):
        return response


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    environment: dict[str, str]

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {k: v for k, v in self.headers.items() if k.lower() in PASSED_ON}
        if self.headers.get("x-goog-if-generation-match") == "0":
            headers["If-None-Match"] = "*"
        path, _, query = self.path.partition("?")
        path = quote(unquote(path), safe="/~")
        query = urlencode(sorted(parse_qsl(query, keep_blank_values=True)), quote_via=quote)
        url = f"{self.environment['AWS_ENDPOINT_URL']}{path}" + (f"?{query}" if query else "")
        request = AWSRequest(self.command, url, headers, body)
        keys = (self.environment[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
        S3SigV4Auth(Credentials(*keys), "s3", self.environment["AWS_REGION"]).add_auth(request)
        real = Request(request.url, body or None, dict(request.headers), method=self.command)
        with build_opener(_AnyStatus).open(real, timeout=60) as response:
            data = response.read()
            self.send_response(response.status)
            for name in ANSWERED:
                if value := response.headers.get(name):
                    self.send_header(name, value)
            length = response.headers.get("content-length") if self.command == "HEAD" else None
            self.send_header("content-length", length or str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def gcs_in_front_of(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Settings by which `gs://bucket` means the S3 server's bucket of that name."""
    handler = type("Handler", (_Handler,), {"environment": environment})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    key = {
        "gcs_base_url": f"http://127.0.0.1:{server.server_port}",
        "disable_oauth": True,
        "client_email": "",
        "private_key": "",
        "private_key_id": "",
    }
    try:
        yield {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(key), "AWS_ALLOW_HTTP": "true"}
    finally:
        server.shutdown()
        server.server_close()

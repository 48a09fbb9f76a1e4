"""The part of Kubernetes' interface that the launcher uses, which lets by what its Role does."""

import json
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

from infra.kubernetes import check
from linnaeus.workflow.on_kubernetes.cluster import Cluster
from tests.certificates import Authority
from tests.infra.kubernetes.objects import Objects

TOKEN = "token-of-the-launcher"
NAMESPACE = "linnaeus"
Object = dict[str, Any]


class FakeCluster:
    """A cluster to which `objects` were applied; a Job ends at once, as `end` says."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.jobs: dict[str, Object] = {}
        self.end: Callable[[Object], str] = lambda job: "Complete"
        self.refuse_next: list[int] = []
        """Statuses of the next answers."""
        self.refusal_type: str | None = "application/json"
        """Content type of these; None: they have none, as a proxy's on the way may not."""
        self.token = TOKEN

    def add(self, job: Object) -> None:
        """Start a Job, which ends."""
        name = job["metadata"]["name"]
        job["metadata"]["uid"] = f"uid-of-{name}"
        ended = {"type": self.end(job), "status": "True"}
        job["status"] = {"conditions": [{"type": "Suspended", "status": "False"}, ended]}
        self.jobs[name] = job

    def answer(self, verb: str, path: str, body: Object | None) -> tuple[int, Object]:
        """Status and object."""
        if self.refuse_next:
            return self.refuse_next.pop(), {"message": "not now"}
        prefix = f"/apis/batch/v1/namespaces/{NAMESPACE}/"
        assert path.startswith(prefix)
        kind, _, name = path.removeprefix(prefix).partition("/")
        if not self._is_allowed(verb, kind, name):
            return 403, {"message": f"{kind} is forbidden: cannot {verb}"}
        if body is not None:
            return self._create(body)
        known = self.jobs if kind == "jobs" else self.objects.of("CronJob")
        return (200, known[name]) if name in known else (404, {"message": "not found"})

    def _create(self, job: Object) -> tuple[int, Object]:
        assert [check.mistakes([job], version) for version in check.VERSIONS] == [[], []]
        if job["metadata"]["name"] in self.jobs:
            return 409, {"message": "already exists"}
        self.add(job)
        return 201, job

    def _is_allowed(self, verb: str, kind: str, name: str) -> bool:
        [role] = self.objects.of("Role").values()
        return any(
            verb in rule["verbs"]
            and kind in rule["resources"]
            and name in rule.get("resourceNames", [name])
            for rule in role["rules"]
        )


@contextmanager
def served(fake: FakeCluster, account: Path) -> Iterator[Cluster]:
    """The fake over HTTPS, and the launcher's view of it, by what a pod finds around it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._tell("get", None)

        def do_POST(self) -> None:
            self._tell("create", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _tell(self, verb: str, body: Object | None) -> None:
            content_type = fake.refusal_type if fake.refuse_next else "application/json"
            known = self.headers["Authorization"] == f"Bearer {fake.token}"
            unknown = 401, {"message": "Unauthorized"}
            status, answer = fake.answer(verb, self.path, body) if known else unknown
            self.send_response(status)
            if content_type:
                self.send_header("Content-Type", content_type)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = _secured(account).wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    around = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(server.server_port),
    }
    try:
        with mock.patch.dict(os.environ, around):
            yield replace(Cluster.around(str(account)), poll_seconds=0.01)
    finally:
        server.shutdown()
        server.server_close()


def _secured(account: Path) -> ssl.SSLContext:
    """Of a server whose authority a pod's account knows."""
    authority = Authority("a cluster")
    account.mkdir()
    for name, text in {
        "token": f"{TOKEN}\n",
        "namespace": NAMESPACE,
        "ca.crt": authority.pem,
    }.items():
        (account / name).write_text(text)
    pair = account.with_name("server.pem")
    pair.write_text("".join(authority.pair()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    return context

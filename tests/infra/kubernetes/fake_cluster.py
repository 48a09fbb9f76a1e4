"""The part of Kubernetes' interface that the launcher uses, which lets by what its Role does."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from infra.kubernetes import check
from linnaeus.workflow.on_kubernetes.cluster import Cluster
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
    """The fake over HTTP, and the launcher's view of it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._tell(*fake.answer("get", self.path, None))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._tell(*fake.answer("create", self.path, body))

        def _tell(self, status: int, answer: Object) -> None:
            assert self.headers["Authorization"] == f"Bearer {TOKEN}"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: Any) -> None:
            pass

    account.mkdir()
    (account / "token").write_text(f"{TOKEN}\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield Cluster(f"http://127.0.0.1:{server.server_port}", NAMESPACE, account, 0.01)
    finally:
        server.shutdown()
        server.server_close()

"""Fixtures that all tests share: a workspace, and a real S3 server on loopback."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from linnaeus.storage import Folder

START_SECONDS = 60.0
STOP_SECONDS = 2.0  # its data is thrown away: no need to let it finish in peace
COMPONENTS = ("master", "volume", "filer", "s3")
SETTINGS = ("AWS_", "GOOGLE_", "AZURE_")


def pytest_configure() -> None:
    """Programs of tests can be interrupted, also where a shell started them in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file whose tests are all left out is not read: what it imports alone takes seconds."""
    if collection_path.suffix != ".py":
        return None
    marks = re.search(r"^pytestmark = (\[[^]]*\]|.*)", collection_path.read_text(), re.MULTILINE)
    found = re.findall(r"mark\.(slow|soak)\b", marks[1]) if marks else []
    return any(f"not {mark}" in config.option.markexpr for mark in found) or None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """A million objects of frameworks that a file's tests imported need no more looking at."""
    yield
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


@pytest.fixture
def workspace(tmp_path: Path) -> Folder:
    """A local workspace that nothing has been written to."""
    return Folder(str(tmp_path / "workspace"))


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[Path], Any]], Path]:
    """`made_once(make)`: a folder that `make(folder)` filled, once for all processes of a run."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def folder_of(make: Callable[[Path], Any]) -> Path:
        folder = shared / f"{make.__module__}.{make.__qualname__}"
        done = folder.with_name(f"{folder.name}-done")
        with folder.with_name(f"{folder.name}-lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of one who failed
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return folder_of


@pytest.fixture(autouse=True)
def files_settle_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists files that a test wrote just now without waiting two seconds for them to age."""
    monkeypatch.setattr("linnaeus.manifests.sources.RECENT_SECONDS", 0.02)


class S3Server:
    """A running SeaweedFS: its settings as environment variables, and fresh buckets.

    The access key `linnaeus` may do everything, `stranger` nothing.
    """

    def __init__(self, endpoint: str) -> None:
        self.environment = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "linnaeus",
            "AWS_SECRET_ACCESS_KEY": "linnaeus-secret",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self) -> Any:
        """A boto3 client, to prepare and look at buckets without the code under test."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=self.environment["AWS_REGION"],
        )

    def bucket(self) -> str:
        """Make an empty bucket and return it as `s3://name`."""
        name = f"test-{secrets.token_hex(6)}"
        self.client().create_bucket(Bucket=name)
        return f"s3://{name}"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One SeaweedFS for this test process."""
    with running_s3_server() as server:
        yield server


@contextmanager
def running_s3_server() -> Iterator[S3Server]:
    """A SeaweedFS that is stopped in the end by its own process id."""
    # Its sockets lie in the folder and their paths must be short, which pytest's are not.
    with TemporaryDirectory(prefix="weed", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        ports = _free_ports(2 * len(COMPONENTS))
        process = _start_seaweedfs(folder, ports)
        try:
            server = S3Server(f"http://127.0.0.1:{ports[-2]}")
            _wait_until_ready(server, process, folder / "log")
            yield server
        finally:
            _stop(process)
            for component, port in zip(COMPONENTS, ports[1::2], strict=True):
                Path(f"/tmp/seaweedfs-{component}-grpc-{port}.sock").unlink(missing_ok=True)


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The S3 server, with the environment set so that `s3://` means it."""
    for name in list(os.environ):
        if name.startswith(SETTINGS):
            monkeypatch.delenv(name)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _start_seaweedfs(folder: Path, ports: list[int]) -> subprocess.Popen[bytes]:
    (folder / "data").mkdir()
    admin = {"accessKey": "linnaeus", "secretKey": "linnaeus-secret"}
    stranger = {"accessKey": "stranger", "secretKey": "stranger-secret"}
    identities = [
        {"name": "admin", "credentials": [admin], "actions": ["Admin"]},
        {"name": "stranger", "credentials": [stranger], "actions": []},
    ]
    (folder / "identities.json").write_text(json.dumps({"identities": identities}))
    command = [
        str(Path(sys.executable).with_name("weed")),
        "-logtostderr=true",
        "server",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-dir={folder / 'data'}",
        "-filer",
        "-s3",
        f"-s3.config={folder / 'identities.json'}",
        "-s3.autoCreateBucket=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.localSocket={folder / 's3.sock'}",
        f"-filer.localSocket={folder / 'filer.sock'}",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=5000",  # each bucket takes several
        "-volume.preStopSeconds=0",
        *(f"-{name}.port={port}" for name, port in zip(COMPONENTS, ports[::2], strict=True)),
        *(f"-{name}.port.grpc={port}" for name, port in zip(COMPONENTS, ports[1::2], strict=True)),
    ]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)


def _wait_until_ready(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            name = server.bucket().removeprefix("s3://")
            server.client().put_object(Bucket=name, Key="ready", Body=b"ready")
        except Exception:
            time.sleep(0.3)
        else:
            return
    raise RuntimeError(f"the S3 server did not start:\n{log.read_text(errors='replace')[-4000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

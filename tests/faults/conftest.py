"""A model, pictures and a workspace: in S3 behind a proxy that breaks things, and local."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from linnaeus import Workspace
from linnaeus.jobs import RunSummary
from linnaeus.planning import plans
from linnaeus.storage import Folder, retries
from linnaeus.training.evaluation.decisions import DecisionRule
from tests import colour_model
from tests.end_to_end.conftest import COLOURS, picture
from tests.faults.proxy import Proxy, faulty
from tests.servers import served

EACH = 8
"""Pictures of each colour."""
PICTURES = 3 * EACH + 1
SHARD_OBJECTS = 8
Labels = dict[str, tuple[str | None, float | None, str | None]]


@dataclass(frozen=True)
class Site:
    """Pictures and a workspace in the S3 server, as jobs see them and as they are."""

    proxy: Proxy
    root: str
    endpoint: str
    server: str

    @property
    def images(self) -> str:
        return f"{self.root}/photos"

    @property
    def workspace(self) -> Workspace:
        return Workspace(f"{self.root}/workspace")

    def score(self) -> RunSummary:
        return self.workspace.score(self.images, "colours", server=self.server, skew_gate=False)

    def rows(self, table: str) -> list[dict]:
        """A table's rows, read past the proxy; it can be read at every moment."""
        options = {"AWS_ENDPOINT_URL": self.endpoint, "AWS_ALLOW_HTTP": "true"}
        try:
            found = DeltaTable(f"{self.root}/workspace/{table}", storage_options=options)
        except TableNotFoundError:
            return []
        return found.to_pyarrow_table().to_pylist()

    def labels(self) -> Labels:
        return by_name(self.rows("labels/colours"), self.images)


def by_name(rows: list[dict], images: str) -> Labels:
    found = [(row["uri"].removeprefix(images), row) for row in rows]
    labels = {name: (row["label"], row["confidence"], row["code"]) for name, row in found}
    assert len(labels) == len(rows), "an object is labelled twice"
    return labels


def put_pictures(folder: Folder) -> None:
    """Pictures of each colour, and one that cannot be decoded."""
    for colour in COLOURS:
        for seed in range(EACH):
            folder.write(f"{colour}/{seed}.jpg", picture(colour, 500 + seed))
    folder.write("red/cut.jpg", picture("red", 1)[:300])


def small_shards(objects: int) -> plans.ShardLimits:
    del objects
    return plans.ShardLimits(SHARD_OBJECTS)


def publish(root: Path) -> None:
    colour_model.publish(Folder(str(root)), DecisionRule(colour_model.LABELS, "single"))


@pytest.fixture(scope="session")
def published(made_once) -> Path:
    """A workspace with model `colours`."""
    return made_once(publish)


@pytest.fixture(scope="session")
def server(published) -> Iterator[str]:
    """The embedded server with model `colours`."""
    with served(str(published), "colours", 1) as address:
        yield address


@pytest.fixture
def proxy(s3, monkeypatch) -> Iterator[Proxy]:
    """In front of the S3 server; the environment means it."""
    retries.budget_of.cache_clear()
    with faulty(s3.environment["AWS_ENDPOINT_URL"]) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


@pytest.fixture
def short_patience(monkeypatch) -> None:
    """Seconds for what lasts up to minutes in earnest; a slow machine is no silent store."""
    monkeypatch.setattr(retries, "SILENCE_SECONDS", 4)
    monkeypatch.setattr(retries, "WRITE_SECONDS", 4)
    monkeypatch.setattr(retries, "READ_PATIENCE_SECONDS", 8)
    monkeypatch.setattr(retries, "WRITE_PATIENCE_SECONDS", 8)
    monkeypatch.setattr(retries, "LONGEST_DELAY_SECONDS", 0.5)


@pytest.fixture
def make_site(s3, proxy, server, published, monkeypatch) -> Callable[[], Site]:
    monkeypatch.setattr(plans.ShardLimits, "for_run", small_shards)

    def make() -> Site:
        endpoint = s3.environment["AWS_ENDPOINT_URL"]
        site = Site(proxy, s3.bucket(), endpoint, server)
        Folder(site.root).upload(published, "workspace")
        put_pictures(Folder(site.images))
        proxy.asked.clear()
        return site

    return make


@pytest.fixture
def site(make_site) -> Site:
    """Pictures and a trained workspace, in a bucket of their own."""
    return make_site()


@pytest.fixture(scope="session")
def undisturbed(published, server, tmp_path_factory) -> Labels:
    """The labels that a run without faults gives, by the end of the pictures' names."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(published, folder / "workspace")
    photos = Folder(str(folder / "photos"))
    put_pictures(photos)
    workspace = Workspace(str(folder / "workspace"))
    workspace.score(photos.uri, "colours", server=server, skew_gate=False)
    labels = by_name(workspace.labels("colours").to_arrow().to_pylist(), photos.uri)
    assert len(labels) == PICTURES
    return labels


@pytest.fixture
def desk_on(published, server, tmp_path):
    """Makes desks whose workspaces lie where one wants them."""
    from tests.faults.commands import Desk, copy_of

    desks: list[Desk] = []

    def make(workspace: Path) -> Desk:
        put_pictures(Folder(str(tmp_path / "photos")))
        long_ago = time.time() - 1000
        for path in (tmp_path / "photos").rglob("*.jpg"):
            os.utime(path, (long_ago, long_ago))
        desks.append(Desk(tmp_path / "photos", copy_of(published, workspace), server))
        return desks[-1]

    yield make
    for desk in desks:
        desk.close()


@pytest.fixture
def desk(desk_on, tmp_path):
    """Pictures and a workspace on this machine, scored by commands."""
    return desk_on(tmp_path / "workspace")

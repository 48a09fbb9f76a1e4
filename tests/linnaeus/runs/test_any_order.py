"""Whatever happens in whatever order, each table has the rows of a plain list.

Runs that are carried out, die at any step and are joined; workers that were thought dead; merges
that die or come too late; vacuum, with and without time passing.
"""

import hashlib
import sys
from collections import Counter
from datetime import timedelta
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from linnaeus import layout, manifests, runs
from linnaeus.errors import ConfigurationError, FailureCode
from linnaeus.maintenance import Retention, compaction, vacuum
from linnaeus.maintenance.compaction import Merge, compact, write_merged
from linnaeus.maintenance.compaction_policy import ON_DEMAND, Policy
from linnaeus.planning import EmbedJob, plans
from linnaeus.records import EMBEDDINGS, FAILURES, OBJECTS
from linnaeus.storage import Folder
from linnaeus.tables import Table
from linnaeus.worker import Failure, Outcome, receipts_listed, shards
from linnaeus.worker.rows import Results
from tests.buckets import TestWorker
from tests.linnaeus.stored_rows import vector_of
from tests.pixel_engine import SPEC

EMBED = EmbedJob(SPEC.fingerprint)
NOW = timedelta(0)
TABLES = {
    layout.embeddings(SPEC.fingerprint): EMBEDDINGS,
    layout.FAILURES: FAILURES,
    layout.OBJECTS: OBJECTS,
}
tables = st.sampled_from(sorted(TABLES))
policies = st.sampled_from([ON_DEMAND, Policy(fan_in=2), Policy(part_rows=6, fan_in=2)])


def content_of(uri: str) -> str:
    """Two objects in a row have the same content."""
    number = int(Path(uri).stem)
    return hashlib.sha256(str(number // 2).encode()).hexdigest()


def is_bad(uri: str) -> bool:
    return int(Path(uri).stem) % 5 == 4


def outcome_of(reference) -> Outcome:
    if is_bad(reference.uri):
        return Outcome(reference, failure=Failure("decode", FailureCode.CORRUPT, "bad"))
    content = content_of(reference.uri)
    return Outcome(reference, content, bytes_read=1, embedding=vector_of(content))


def work(shard: shards.Shard) -> Results:
    planned = plans.read_shard(shard.worker.workspace, shard.run.run_id, shard.number)
    return Results([outcome_of(p.reference) for p in planned])


class DeathError(Exception):
    """The process ends here."""


class Workspaces(RuleBasedStateMachine):
    """A workspace, and the rows that a reader should see in it."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = TemporaryDirectory(prefix="linnaeus-any-order-")
        self.bucket = Path(self.scratch.name) / "bucket"
        self.bucket.mkdir()
        self.workspace = Folder(f"{self.scratch.name}/workspace")
        self.files = 0
        self.run: plans.RunSpec | None = None
        self.committed: set[str] = set()
        self.visible: dict[str, list[str]] = {key: [] for key in TABLES}
        self.stragglers: list[shards.Shard] = []
        self.late_merges: list[tuple[Table, Merge]] = []

    def teardown(self) -> None:
        self.scratch.cleanup()

    def table(self, key: str) -> Table:
        return Table(self.workspace, key, TABLES[key])

    @property
    def worker(self) -> TestWorker:
        assert self.run is not None
        return TestWorker(self.workspace, self.run)

    @property
    def missing(self) -> list[int]:
        assert self.run is not None
        done = receipts_listed(self.workspace, self.run)
        return [number for number in range(len(self.run.shard_sizes)) if number not in done]

    @rule(count=st.integers(1, 5))
    def objects_arrive(self, count):
        for number in range(self.files, self.files + count):
            (self.bucket / f"{number}.png").write_text(str(number))
        self.files += count

    @rule(count=st.integers(1, 5))
    def a_night(self, count):
        """A run from beginning to end, or of the one that was left its end."""
        self.objects_arrive(count)
        self.a_run_begins_or_is_joined()
        if self.run:
            for number in self.missing:
                self._do(number)
            self.a_commit_succeeds()

    @precondition(lambda self: self.files)
    @rule()
    def a_run_begins_or_is_joined(self):
        manifest = manifests.freeze(self.workspace, str(self.bucket))
        joined = runs.open_run(self.workspace, EMBED, manifest.source)
        assert (joined and joined.run_id) == (self.run and self.run.run_id)
        if joined is None:
            plan = runs.make_plan(self.workspace, EMBED, manifest)
            done = {Path(uri).stem for uri in self.visible[layout.OBJECTS]}
            failed = {Path(uri).stem for uri in self.visible[layout.FAILURES]}
            assert plan.spec.planned == self.files - len(done | failed)
            if plan.spec.planned:
                self.run = runs.create_run(self.workspace, EMBED, plan)

    @precondition(lambda self: self.run and self.missing)
    @rule(data=st.data())
    def a_shard_is_done(self, data):
        self._do(data.draw(st.sampled_from(self.missing)))

    def _do(self, number: int) -> None:
        shard = shards.begin(self.worker, number)
        shards.finish(shard, work(shard))

    @precondition(lambda self: self.run and self.run.shard_sizes)
    @rule(data=st.data(), wrote=st.booleans())
    def a_worker_is_thought_dead(self, data, wrote):
        assert self.run is not None
        number = data.draw(st.integers(0, len(self.run.shard_sizes) - 1))
        shard = shards.begin(self.worker, number)
        if wrote:
            shards.write_parts(shard, work(shard))
        else:
            self.stragglers.append(shard)

    @precondition(lambda self: self.stragglers)
    @rule()
    def a_worker_that_was_thought_dead_writes(self):
        shard = self.stragglers.pop()
        planned = self.workspace.head(layout.plan(shard.run.run_id))
        if planned:  # else its run was given up, and it dies
            shards.finish(shard, work(shard))

    @precondition(lambda self: self.run and not self.missing)
    @rule(committed=st.integers(0, 3))
    def a_commit_dies(self, committed):
        real = runs.tables_of

        def dying(workspace, run):
            yield from islice(real(workspace, run), committed)
            raise DeathError

        assert self.run is not None
        with (
            mock.patch.object(sys.modules["linnaeus.runs.commit"], "tables_of", dying),
            pytest.raises(DeathError),
        ):
            runs.commit(self.workspace, self.run.run_id)
        self._show(list(TABLES)[:committed])

    @precondition(lambda self: self.run and not self.missing)
    @rule()
    def a_commit_succeeds(self):
        assert self.run is not None
        runs.commit(self.workspace, self.run.run_id)
        self._show(list(TABLES))
        self.run = None

    def _show(self, keys: list[str]) -> None:
        """What the run has done is visible in these tables from now on."""
        assert self.run is not None
        numbers = range(len(self.run.shard_sizes))
        rows = [plans.read_shard(self.workspace, self.run.run_id, n) for n in numbers]
        for key in keys:
            if (key, self.run.run_id) not in self.committed:
                self.committed.add((key, self.run.run_id))
                self.visible[key] += [
                    p.reference.uri
                    for shard in rows
                    for p in shard
                    if is_bad(p.reference.uri) == (key == layout.FAILURES)
                ]

    @rule(key=tables, policy=policies)
    def a_table_is_compacted(self, key, policy):
        compact(self.table(key), policy)

    @rule(key=tables)
    def a_merge_is_written_and_comes_late(self, key):
        table = self.table(key)
        snapshot = table.load()
        if snapshot and len(group := table.parts(snapshot)) > 1:
            self.late_merges.append((table, Merge(group, write_merged(table, group))))

    @precondition(lambda self: self.late_merges)
    @rule()
    def a_late_merge_is_committed(self):
        compaction.commit(*self.late_merges.pop())

    @rule()
    def what_was_replaced_is_swept(self):
        assert vacuum(self.workspace, Retention(removed=NOW)).given_up == []

    @rule()
    def a_week_passes_and_everything_is_swept(self):
        self.late_merges.clear()  # their processes lost their leases
        done = vacuum(self.workspace, Retention(NOW, NOW))
        assert done.given_up == ([self.run.run_id] if self.run else [])
        if self.run:
            with pytest.raises(ConfigurationError, match="given up"):
                runs.commit(self.workspace, self.run.run_id)
        self.run = None
        assert vacuum(self.workspace, Retention(NOW, NOW)).tables == {}

    @invariant()
    def readers_see_the_rows(self):
        for key in (layout.FAILURES, layout.OBJECTS):
            uris = self.table(key).scan(["uri"]).read_all()["uri"].to_pylist()
            assert Counter(uris) == Counter(self.visible[key])

    @invariant()
    def every_content_has_its_vector(self):
        key = layout.embeddings(SPEC.fingerprint)
        rows = self.table(key).scan(["sha256", "embedding"]).read_all().to_pylist()
        assert {row["sha256"] for row in rows} == set(map(content_of, self.visible[key]))
        for row in rows:
            assert (vector_of(row["sha256"]) == row["embedding"]).all()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("examples", [4, pytest.param(30, marks=pytest.mark.soak)])
def test_in_any_order_tables_have_the_rows_of_a_plain_list(monkeypatch, examples):
    limits = plans.ShardLimits(2)
    monkeypatch.setattr(plans.ShardLimits, "for_run", lambda objects: limits)
    monkeypatch.setattr("linnaeus.manifests.sources.RECENT_SECONDS", 0)
    monkeypatch.setattr("os.fsync", lambda file: None)  # processes die here, machines do not
    run_state_machine_as_test(
        Workspaces,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

"""Whatever slices are done, again, by other counts or half: what is committed is the same."""

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnaeus import layout, manifests
from linnaeus.errors import LinnaeusError, ReconciliationError
from linnaeus.jobs import Slice, commit_plan, slices
from linnaeus.jobs.frozen_runs import freeze_run, load
from linnaeus.jobs.slices import shards_of
from linnaeus.planning import EmbedJob, plans
from linnaeus.records import OBJECTS
from linnaeus.storage import Folder
from linnaeus.tables import Table
from tests.buckets import TestWorker, fill
from tests.pixel_engine import SPEC

pytestmark = pytest.mark.slow

PICTURES, SHARDS = 8, 4
SLICES = st.integers(1, 6).flatmap(lambda count: st.tuples(st.integers(1, count), st.just(count)))
ATTEMPTS = st.lists(st.tuples(SLICES, st.one_of(st.none(), st.integers(0, 2))), max_size=6)
"""Slices, each with how many shards it does before it dies; None: it lives."""


class DyingWorker(TestWorker):
    """Does some shards; the next one fails."""

    def __init__(self, workspace, run, lives):
        super().__init__(workspace, run)
        self._lives = lives
        self._engine = self.__dict__.pop("engine")

    @property
    def engine(self):
        if self._lives == 0:
            raise LinnaeusError("died")
        self._lives -= 1
        return self._engine


def attempt(workspace, one, dies_after):
    lives = SHARDS + 1 if dies_after is None else dies_after
    try:
        slices.do_slice(
            workspace, load(workspace, "p"), one, lambda run: DyingWorker(workspace, run, lives)
        )
    except LinnaeusError as error:
        assert str(error) == "died"


def model(attempts):
    """Which shards are done, by a plain loop."""
    done = set()
    for (index, count), dies_after in attempts:
        todo = [n for n in range(SHARDS) if n % count == index - 1 and n not in done]
        done |= set(todo[:dies_after])
    return done


@settings(max_examples=8, deadline=None)
@given(attempts=ATTEMPTS)
def test_the_commit_knows_what_is_missing_and_is_the_same_in_the_end(attempts):
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(plans.ShardLimits, "for_run", lambda _: plans.ShardLimits(2))
        workspace = Folder(f"{name}/workspace")
        pictures = str(fill(Path(name) / "bucket", PICTURES))
        manifest = manifests.freeze(workspace, pictures)
        frozen = freeze_run(workspace, EmbedJob(SPEC.fingerprint), manifest, "p")
        assert frozen.shards == SHARDS
        for (index, count), dies_after in attempts:
            attempt(workspace, Slice(index, count), dies_after)
        missing = SHARDS - len(model(attempts))
        if missing:
            with pytest.raises(ReconciliationError, match=f"{missing} of {SHARDS} shards"):
                commit_plan(workspace, frozen)
            attempt(workspace, Slice(1, 1), None)
        assert commit_plan(workspace, frozen).counts.done == PICTURES
        rows = Table(workspace, layout.OBJECTS, OBJECTS).scan().read_all()
        assert sorted(rows["uri"].to_pylist()) == sorted(map(str, Path(pictures).rglob("*.png")))


def test_the_model_and_the_slices_mean_the_same_shards():
    for count in range(1, 7):
        order = random.Random(count).sample(range(1, count + 1), count)
        found = [n for index in order for n in shards_of(Slice(index, count), SHARDS)]
        assert sorted(found) == list(range(SHARDS))

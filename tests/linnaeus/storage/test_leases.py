"""Leases: one owner at a time, and none for ever."""

import concurrent.futures
import json
import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from linnaeus import layout
from linnaeus.process import identity, is_dead
from linnaeus.storage import Folder, LeaseLost, leased, store_time

AT_ONCE = timedelta(0)
HOLDING = """
import sys, time
from linnaeus.storage import leased
from linnaeus.storage import Folder

with leased(Folder(sys.argv[1]), "work"):
    print("taken", flush=True)
    time.sleep(600)
"""


def test_while_somebody_has_the_lease_nobody_else_gets_it(workspace: Folder):
    with leased(workspace, "work") as first:
        assert first is not None
        with leased(workspace, "work") as second:
            assert second is None
        with leased(workspace, "other") as other:
            assert other is not None
        first.renew()


def test_a_lease_is_free_again_when_its_owner_is_done_or_fails(workspace: Folder):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), leased(workspace, "work") as lease:
            assert lease is not None
            raise ZeroDivisionError
    assert list(workspace.list(layout.leases("work"))) == []


def test_the_lease_of_an_owner_that_died_is_taken_over_and_lost_to_it(workspace: Folder):
    with leased(workspace, "work") as dead, leased(workspace, "work", AT_ONCE) as heir:
        assert dead is not None
        assert heir is not None
        with pytest.raises(LeaseLost, match="took over"):
            dead.renew()
        heir.renew()
        dead.release()
        heir.renew()


def test_the_lease_of_a_process_of_this_machine_that_was_killed_is_free_at_once(workspace: Folder):
    command = [sys.executable, "-c", HOLDING, workspace.uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout.readline() == "taken\n"
        with leased(workspace, "work") as mine:
            assert mine is None
        owner.kill()
        os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
        with leased(workspace, "work") as mine:
            assert mine is not None


@pytest.mark.parametrize("foreign", ["", "x", None, 7, "other-boot pid:[1] 999999999 5"])
def test_of_a_process_elsewhere_nobody_says_that_it_is_dead(workspace: Folder, foreign: object):
    assert not is_dead(foreign)
    owner = json.dumps({"schema_version": 1, "host": "elsewhere", "identity": foreign}).encode()
    workspace.write(layout.lease("work", 1), owner)
    with leased(workspace, "work") as mine:
        assert mine is None


def test_a_process_is_known_by_its_start_as_its_number_may_be_anothers_by_now():
    place, pid, started = identity().rsplit(maxsplit=2)
    assert not is_dead(identity())
    assert is_dead(f"{place} {pid} {int(started) - 1}")


def test_of_many_at_once_one_gets_the_lease(workspace: Folder):
    barrier, finished = threading.Barrier(8), threading.Barrier(8)

    def take(_):
        barrier.wait()
        with leased(workspace, "work", timedelta(hours=1)) as lease:
            finished.wait()
            return lease is not None

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(8))) == 1


def test_the_stores_time_goes_on_and_leaves_nothing(workspace: Folder):
    first, second = store_time(workspace), store_time(workspace)
    assert first <= second
    assert list(workspace.list("leases")) == []


@pytest.mark.slow
def test_leases_work_in_an_object_store(s3):
    workspace = Folder(s3.bucket() + "/workspace")
    with leased(workspace, "work") as first, leased(workspace, "work") as second:
        assert first is not None
        assert second is None
        first.renew()
    with leased(workspace, "work") as third:
        assert third is not None


def test_a_sign_of_life_from_the_future_is_none(workspace: Folder):
    """A machine's clock was a year ahead when it took the lease, and was set right since."""
    with leased(workspace, "work") as ahead:
        assert ahead is not None
        path = Path(workspace.uri, layout.lease("work", ahead.number))
        os.utime(path, (time.time() + 3, time.time() + 3))
        with leased(workspace, "work") as still:
            assert still is None
        os.utime(path, (time.time() + 60, time.time() + 60))
        with leased(workspace, "work") as heir:
            assert heir is not None

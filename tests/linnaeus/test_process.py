"""Ctrl-C in places from which Python cannot raise."""

import subprocess
import sys

LOSES_IT = """
import signal, sys, time
from linnaeus.process import keep_interrupts

class Dying:
    def __del__(self):
        raise {raised}

signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs may ignore it
keep_interrupts()
try:
    Dying()
    time.sleep({seconds})
except KeyboardInterrupt:
    sys.exit(130)
"""


def died(raised: str, seconds: float) -> subprocess.CompletedProcess[str]:
    code = LOSES_IT.format(raised=raised, seconds=seconds)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30
    )


def test_an_interruption_in_a_finaliser_still_interrupts_without_a_traceback():
    done = died("KeyboardInterrupt", 60)
    assert (done.returncode, done.stderr) == (130, "")


def test_other_errors_of_finalisers_are_told_as_ever():
    done = died("ValueError('lost')", 0)
    assert done.returncode == 0
    assert "ValueError: lost" in done.stderr

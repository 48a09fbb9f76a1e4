"""Ctrl-C that is not lost."""

import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

AGAIN_SECONDS = 0.05
"""Until the interrupted callback has surely returned."""


def keep_interrupts() -> None:
    """Interrupt once more where Python drops an interruption, with a traceback, and goes on.

    It does so where Ctrl-C strikes in a finaliser or the callback of a weak reference, of which
    TensorFlow has many: nothing can be raised from there.
    """
    told = sys.unraisablehook

    def hook(unraisable: "UnraisableHookArgs") -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            again = threading.Timer(AGAIN_SECONDS, _interrupt_main_thread)
            again.daemon = True
            again.start()
        else:
            told(unraisable)

    sys.unraisablehook = hook


def _interrupt_main_thread() -> None:
    """By a signal, which also ends a wait of the main thread."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

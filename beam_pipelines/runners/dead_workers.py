"""Dead worker processes and interrupts, which Beam's local runner would wait out or lose."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from linnaeus.errors import LinnaeusError

WORKER_THREAD = "run_worker"

CONNECTED_THREADS = ("beam_control_read", "read_grpc_client_inputs")
"""They lose their connection when a worker dies; there is nothing more in their errors."""

AGAIN_SECONDS = 5.0
"""After which a run that a dead worker ended, and that still waits, is interrupted once more."""


@contextmanager
def dead_workers_end_the_run() -> Iterator[threading.Event]:
    """End the run when a worker process of Beam's local runner dies, which Beam waits for for ever.

    Beam starts each worker in a thread that raises when the process ends badly. The event is set as
    soon as one has died.
    """
    died, over = threading.Event(), threading.Event()
    before = threading.excepthook

    def on_thread_error(arguments: threading.ExceptHookArgs) -> None:
        name = arguments.thread.name if arguments.thread else ""
        if name == WORKER_THREAD and not died.is_set():
            died.set()
            threading.Thread(target=_interrupt_until, args=(over,), daemon=True).start()
        elif not name.startswith((WORKER_THREAD, *CONNECTED_THREADS)):
            before(arguments)

    threading.excepthook = on_thread_error
    try:
        yield died
    except KeyboardInterrupt:
        if not died.is_set():
            raise
        raise LinnaeusError(
            "A worker process died. Run the same command again: it does the missing shards, and "
            "decodes the one that was under way image by image, apart from the workers"
        ) from None
    finally:
        over.set()
        threading.excepthook = before


def _interrupt_until(over: threading.Event) -> None:
    """Interrupt the main thread, again and again: an interruption may be lost on its way.

    Beam's own tidying up may also wait for ever, for the workers that are left.
    """
    main_thread = threading.main_thread().ident or 0
    while not over.is_set():
        signal.pthread_kill(main_thread, signal.SIGINT)  # the process's may reach another thread
        over.wait(AGAIN_SECONDS)


@contextmanager
def interrupts_stay_interrupts(worker_died: threading.Event) -> Iterator[None]:
    """Raise KeyboardInterrupt for what Ctrl-C became on its way, such as an ImportError.

    A dead worker interrupts also where Ctrl-C is ignored, as in a job in the background of a shell.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        came.set()
        if callable(before):
            before(number, frame)
        elif worker_died.is_set():
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    except Exception as error:
        if came.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)

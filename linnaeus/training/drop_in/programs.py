"""The frame of a program that takes the place of an older one: its lines, errors and status."""

import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from linnaeus.errors import ConfigurationError
from linnaeus.plain_text import one_line, plain
from linnaeus.process import keep_interrupts, leave_at_once, own_temporary_files, silence_libraries
from linnaeus.progress import SILENT, Progress, for_stream

LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL")
FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130


@dataclass(frozen=True)
class Log:
    """What a program says on standard error, from a level up; results go to standard output."""

    level: str = "INFO"

    def info(self, line: str) -> None:
        """Say how it goes."""
        self._say("INFO", line)

    def step(self, number: int, line: str) -> None:
        """Say how it goes at a step, and when."""
        self.info(f"{datetime.now()}: Step {number}: {line}")

    def warning(self, line: str) -> None:
        """Say what may be wrong."""
        self._say("WARN", f"WARNING: {line}")

    @property
    def progress(self) -> Progress:
        """Where steps are shown."""
        return for_stream(sys.stderr) if self._shows("INFO") else SILENT

    def _say(self, level: str, line: str) -> None:
        if self._shows(level):
            print(plain(line), file=sys.stderr, flush=True)

    def _shows(self, level: str) -> bool:
        return LEVELS.index(level) >= LEVELS.index(self.level)


def run_program(main: Callable[[], None]) -> None:
    """Run it and leave: an error is one line; 2 is wrong usage or input, 1 any other failure."""
    keep_interrupts()
    own_temporary_files()
    debugging = "--logging_verbosity DEBUG" in " ".join(sys.argv).replace("=", " ")
    if not debugging:
        silence_libraries()
    try:
        main()
    except KeyboardInterrupt:
        leave_at_once(INTERRUPTED)
    except Exception as error:
        if debugging:
            traceback.print_exc()
        print(one_line(error, "; --logging_verbosity DEBUG shows where"), file=sys.stderr)
        leave_at_once(WRONG_USAGE if isinstance(error, ConfigurationError) else FAILED)
    leave_at_once(0)

"""The command line: `linnaeus COMMAND ...`, a module for each family of commands.

Exit status: 0 done; 1 the run failed; 2 wrong usage; 3 done, but with new failures above
`--max-failures`; 130 interrupted.
"""

import os
import sys


def main() -> None:
    """Run the command that the process's arguments name."""
    try:
        from linnaeus.cli.app import app
        from linnaeus.quiet import silence_libraries

        if "--debug" not in sys.argv:
            silence_libraries()
        app()
    except KeyboardInterrupt:  # before a command has begun
        sys.exit(130)
    except SystemExit as end:
        if end.code:
            _leave_at_once(end.code)
        raise


def _leave_at_once(status: str | int) -> None:
    """End without waiting for the threads of a run that was broken off."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)

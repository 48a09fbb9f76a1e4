"""The command line: `linnaeus COMMAND ...`, a module for each family of commands.

Exit status: 0 done; 1 the run failed; 2 wrong usage; 3 done, but with new failures above
`--max-failures`; 130 interrupted.
"""

import sys

from linnaeus.process import keep_interrupts, leave_at_once, own_temporary_files


def main() -> None:
    """Run the command that the process's arguments name."""
    keep_interrupts()
    own_temporary_files()
    try:
        from linnaeus.cli.app import app
        from linnaeus.process import silence_libraries

        if "--debug" not in sys.argv:
            silence_libraries()
        app()
    except KeyboardInterrupt:  # before a command has begun
        leave_at_once(130)
    except SystemExit as end:
        leave_at_once(end.code if isinstance(end.code, int) else int(end.code is not None))

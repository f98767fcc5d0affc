"""`python -m protect` and the `protect` command."""

import contextlib
import os
import sys
from typing import TextIO

from protect.errors import ExitCode


def main() -> None:
    """Run the command line; the exit status is an `ExitCode`."""
    # A stream that the caller has closed is one that he does not read.
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    try:
        from protect.cli.app import app  # takes a moment, in which Ctrl-C may come
        from protect.console import Screen, output_lost
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OSError as error:
        # Of what the commands do, nothing comes as far; this is a help or a version, or a message.
        problem = output_lost(error)
        with contextlib.suppress(OSError):
            Screen().error(problem)
        sys.exit(problem.exit_code)


def _nowhere() -> TextIO:
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


if __name__ == "__main__":
    main()

"""`python -m protect` and the `protect` command."""

import sys

from protect.errors import ExitCode


def main() -> None:
    """Run the command line; the exit status is an `ExitCode`."""
    try:
        from protect.cli.app import app  # takes a moment, in which Ctrl-C may come
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    app()


if __name__ == "__main__":
    main()

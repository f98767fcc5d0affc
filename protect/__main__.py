"""`python -m protect` and the `protect` command."""

from protect.cli.app import app


def main() -> None:
    """Run the command line; the exit status is an `ExitCode`."""
    app()


if __name__ == "__main__":
    main()

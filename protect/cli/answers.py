"""Whatever goes wrong becomes words and an exit status, here and nowhere else."""

import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from protect.console import Screen
from protect.errors import ConfigError, ExitCode, MachineError, ProcessLost, ProtectError
from protect.system.device import is_out_of_memory
from protect.system.processes import is_first

TRACEBACK_VARIABLE = "PROTECT_TRACEBACK"
SECONDS_TO_SPEAK = 20.0


def stopped() -> ProtectError:
    """Say that Ctrl-C came, where nothing is kept."""
    return ProtectError("interrupted")


def kept(then: str) -> ProtectError:
    """Say that Ctrl-C came, and what to type to go on."""
    return ProtectError("interrupted; what was finished is kept", f"go on with: {then}")


@contextmanager
def answered(
    screen: Screen,
    interrupted: Callable[[], ProtectError] = stopped,
    settings: Path | None = None,
) -> Iterator[None]:
    """Turn whatever goes wrong into words and the documented exit status.

    Args:
        screen: Shows the words.
        interrupted: Says what Ctrl-C left and what to type then; asked when it came.
        settings: The file that settings were taken from, which may be what is wrong.
    """
    try:
        yield
    except typer.Exit:
        raise
    except ProtectError as error:
        if settings is not None and isinstance(error, ConfigError):
            error.details += (f"what was not typed is as {settings} has it",)
        _say(screen, error)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        if is_first():
            screen.error(interrupted())
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            traceback.print_exc()
        problem = _out_of_something(error) or _defect(error)
        _say(screen, problem)
        raise typer.Exit(problem.exit_code) from None


def _say(screen: Screen, problem: ProtectError) -> None:
    """Show a problem; of several processes, the first shows what all meet, each what it alone has.

    A process with nothing to show lets the first speak: at the first end torchrun ends all.
    """
    is_own = problem.exit_code != ExitCode.USAGE and not isinstance(problem, ProcessLost)
    if is_first() or is_own:
        screen.error(problem)
    else:
        time.sleep(SECONDS_TO_SPEAK)


def _out_of_something(error: Exception) -> ProtectError | None:
    if is_out_of_memory(error):
        return MachineError("out of memory", "try a smaller --batch-size or a smaller --size")
    if isinstance(error, OSError):
        return MachineError(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
    return None


def _defect(error: Exception) -> ProtectError:
    problem = ProtectError(
        f"a defect of protect: {type(error).__name__}: {error}",
        f"please report it with the output of the same command under {TRACEBACK_VARIABLE}=1",
    )
    problem.exit_code = ExitCode.INTERNAL
    return problem

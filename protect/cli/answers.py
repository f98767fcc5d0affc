"""Whatever goes wrong becomes words and an exit status, here and nowhere else."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from protect.console import Screen
from protect.errors import ConfigError, ExitCode, MachineError, ProtectError

TRACEBACK_VARIABLE = "PROTECT_TRACEBACK"


@contextmanager
def answered(screen: Screen, interrupted: str = "", settings: Path | None = None) -> Iterator[None]:
    """Turn whatever goes wrong into words and the documented exit status.

    Args:
        screen: Shows the words.
        interrupted: What to type to go on after Ctrl-C.
        settings: The file that settings were taken from, which may be what is wrong.
    """
    try:
        yield
    except typer.Exit:
        raise
    except ProtectError as error:
        if settings is not None and isinstance(error, ConfigError):
            error.details += (f"what was not typed is as {settings} has it",)
        screen.error(error)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        screen.error(ProtectError("interrupted; what was finished is kept", interrupted))
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            traceback.print_exc()
        problem = _out_of_something(error) or _defect(error)
        screen.error(problem)
        raise typer.Exit(problem.exit_code) from None


def _out_of_something(error: Exception) -> ProtectError | None:
    # PyTorch has a type of its own for a full GPU, and none for a full main memory.
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
    ):
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

"""What can go wrong, and the exit code that says so.

Everything a user can cause or mend is a `ProtectError`: a message that names the thing (a file, a
flag), and a hint that says what to do next. Only the command line turns it into words and a code.
"""

from collections.abc import Sequence
from enum import IntEnum

GO_ON = "give the same command again, with --resume if it was a run that had begun"
"""What to type where only the command line knows what was typed."""


class ExitCode(IntEnum):
    """Exit status of every command; documented in the README and stable."""

    OK = 0
    """Done, and the answer is good."""
    NEGATIVE = 1
    """Done, and the answer is no: verify failed or was inconclusive, images were left out."""
    USAGE = 2
    """A flag, a setting or the input folder is wrong; nothing was computed."""
    ENVIRONMENT = 3
    """This machine lacks something: weights, a device, memory, disk, a permission."""
    INTERNAL = 70
    """A defect of this program."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C; run and verify keep what was finished."""


class ProtectError(Exception):
    """An error to show to the user as it is.

    Args:
        message: What is wrong and where, in one sentence.
        hint: What to type or change next.
        details: Further lines, such as one per refused file.
    """

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, hint: str = "", details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)


class ConfigError(ProtectError):
    """A flag or setting has an impossible value."""


class InputError(ProtectError):
    """The input folder, its labels or its pictures cannot be used as they are."""


class OutputError(ProtectError):
    """The output folder cannot be used as it is."""


class ImageRefused(ProtectError):  # noqa: N818 - a finding, listed and not raised to the user
    """One picture cannot be protected faithfully; the reason is the message."""


class MachineError(ProtectError):
    """This machine cannot do it: no such device, out of memory, out of disk, non-finite values."""

    exit_code = ExitCode.ENVIRONMENT


class ProcessLost(MachineError):  # noqa: N818 - what happened; the fault is another process's
    """Another process of this run has ended or says nothing; only it knows why."""


class NothingToDo(ProtectError):  # noqa: N818 - no fault of anyone
    """This call has nothing to do, such as a shard without a cell; that is no failure."""

    exit_code = ExitCode.OK


class WeightsError(MachineError):
    """Weights are missing, damaged, or belong to another network."""

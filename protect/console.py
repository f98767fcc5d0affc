"""The only printer: results to stdout; progress, notices and errors to stderr.

Progress bars on a terminal, plain lines in a log, nothing with --quiet.
"""

import io
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from protect.errors import MachineError, ProtectError
from protect.events import Event, Notice, StageAdvanced, StageFinished, StageStarted
from protect.report.tables import printable, some_of

LOG_WIDTH = 120
"""Columns of a table that is written to a file or a pipe."""
SECONDS_BETWEEN_LINES = 15.0
"""In a log, a running stage says how far it is this often."""


class Screen:
    """Draws events, results and errors.

    Args:
        quiet: Show results and errors only.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A name that the terminal's encoding lacks is spelled, and costs no result.
                stream.reconfigure(errors="backslashreplace")
        self.out = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
        self.err = Console(
            stderr=True,
            highlight=False,
            soft_wrap=True,
            width=None if sys.stderr.isatty() else LOG_WIDTH,
        )
        self._stage: _Bar | _Lines | None = None

    def listen(self, event: Event) -> None:
        """Draw one event of a recipe."""
        if self.quiet and not (isinstance(event, Notice) and event.severity == "warning"):
            return
        match event:
            case StageStarted(name, total):
                self._end_stage()
                kind = _Bar if self.err.is_terminal else _Lines
                self._stage = kind(self.err, name, total)
            case StageAdvanced(steps, status):
                if self._stage is not None:
                    self._stage.advance(steps, status)
            case StageFinished(seconds):
                self._end_stage(seconds)
            case Notice(text, severity):
                self.err.print(Text.assemble(f"{severity}: ", printable(text)))

    def result(self, renderable: RenderableType) -> None:
        """Print a result for people."""
        with _written(self.out):
            self.out.print(renderable)

    def document(self, document: BaseModel) -> None:
        """Print exactly one JSON document."""
        text = document.model_dump_json(indent=1)
        if self.out.encoding != "utf-8":
            # JSON is UTF-8, and so is ASCII, whatever the encoding of the stream.
            text = json.dumps(json.loads(text), indent=1)
        self.text(text + "\n")

    def text(self, text: str) -> None:
        """Print a result for programs as it is."""
        with _written(self.out):
            self.out.file.write(text)

    def hint(self, text: str) -> None:
        """Say what to type next."""
        if not self.quiet:
            self.err.print(Text.assemble("next: ", printable(text)))

    def error(self, error: ProtectError) -> None:
        """Show what went wrong, if anything did, and what to do."""
        self._end_stage()
        label = ("error: ", "bold red") if error.exit_code else ("nothing to do: ", "bold")
        self.err.print(Text.assemble(label, printable(error.message)))
        for line in some_of(error.details):
            self.err.print(Text.assemble("  ", printable(line)))
        if error.hint:
            self.err.print(Text.assemble(("hint: ", "bold"), printable(error.hint)))

    def _end_stage(self, seconds: float | None = None) -> None:
        if self._stage is not None:
            self._stage.finish(seconds)
            self._stage = None


@contextmanager
def _written(console: Console) -> Iterator[None]:
    """Make sure that a result has arrived, before the exit status says so.

    Raises:
        MachineError: If it has not: the disk is full, or the reader gone.
    """
    try:
        yield
        console.file.flush()
    except OSError as error:
        # What is left in the buffer must go somewhere, or Python tries again when it ends, and
        # fails with a traceback and a status of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), console.file.fileno())
        raise MachineError(
            f"the result cannot be written to standard output: {error.strerror or error}",
            "free some space on that disk, or write elsewhere",
        ) from error


class _Bar:
    """A stage on a terminal."""

    def __init__(self, console: Console, name: str, total: int) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}", markup=False),
            console=console,
            speed_estimate_period=60,
        )
        self.task: TaskID = self.progress.add_task(name, total=total or None, status="")
        self.progress.start()

    def advance(self, steps: int, status: str) -> None:
        self.progress.update(self.task, advance=steps)
        if status:
            self.progress.update(self.task, status=status)

    def finish(self, seconds: float | None) -> None:  # noqa: ARG002
        self.progress.stop()


class _Lines:
    """A stage in a log: a line at its start, one now and then, one at its end."""

    def __init__(self, console: Console, name: str, total: int) -> None:
        self.console, self.name, self.total = console, name, total
        self.done = 0
        self.start = self.said = time.monotonic()
        console.print(Text(f"{name}: {total} to do" if total else name))

    def advance(self, steps: int, status: str) -> None:
        self.done += steps
        now = time.monotonic()
        if now - self.said < SECONDS_BETWEEN_LINES:
            return
        self.said = now
        left = (now - self.start) / self.done * (self.total - self.done)
        parts = [f"{self.name}: {self.done}/{self.total}", f"about {left:.0f} s left", status]
        self.console.print(Text(", ".join(part for part in parts if part)))

    def finish(self, seconds: float | None) -> None:
        if seconds is not None:
            self.console.print(Text(f"{self.name}: done in {seconds:.1f} s"))

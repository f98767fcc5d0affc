"""The only printer: results to stdout; progress, notices and errors to stderr.

Progress bars on a terminal, plain lines in a log, nothing with --quiet.
"""

import io
import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from protect.errors import MachineError, ProtectError
from protect.events import (
    Event,
    Notice,
    PartStarted,
    StageAdvanced,
    StageFinished,
    StageStarted,
)
from protect.report.tables import printable, some_of
from protect.report.words import duration

if TYPE_CHECKING:
    from pydantic import BaseModel

LOG_WIDTH = 120
"""Columns of a table that is written to a file or a pipe."""
SECONDS_BETWEEN_LINES = 15.0
"""In a log, a running stage says how far it is this often."""


class Screen:
    """Draws events, results and errors.

    Args:
        quiet: Show results and errors only.
        no_colour: Draw without colours even on a terminal, as is done where NO_COLOR is set.
    """

    def __init__(self, quiet: bool = False, no_colour: bool = False) -> None:
        self.quiet = quiet
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A name that the terminal's encoding lacks is spelled, and costs no result.
                stream.reconfigure(errors="backslashreplace")
        # None leaves it to NO_COLOR.
        no_color = no_colour or None
        width = None if sys.stdout.isatty() else LOG_WIDTH
        self.out = Console(highlight=False, width=width, no_color=no_color)
        self.err = Console(
            stderr=True,
            highlight=False,
            soft_wrap=True,
            width=None if sys.stderr.isatty() else LOG_WIDTH,
            no_color=no_color,
        )
        self._stage: _Bar | _Lines | None = None
        self._part = ""

    def listen(self, event: Event) -> None:
        """Draw one event of a recipe."""
        if self.quiet and not (isinstance(event, Notice) and event.severity == "warning"):
            return
        match event:
            case PartStarted(number, count):
                self._part = f"{number}/{count} "
            case StageStarted(name, total):
                self._end_stage()
                kind = _Bar if self.err.is_terminal else _Lines
                self._stage = kind(self.err, self._part + name, total)
            case StageAdvanced():
                if self._stage is not None:
                    self._stage.advance(event)
            case StageFinished(seconds):
                self._end_stage(seconds)
            case Notice(text, severity):
                self.err.print(Text.assemble(f"{severity}: ", printable(text)))

    def result(self, renderable: RenderableType) -> None:
        """Print a result for people."""
        with _written(self.out):
            self.out.print(renderable)

    def document(self, document: "BaseModel") -> None:
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
        lines: Sequence[str] = error.details
        if self.err.is_terminal:
            lines = some_of(lines, "add 2> FILE to have all in a file")
        for line in lines:
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
        raise output_lost(error) from error


def output_lost(error: OSError) -> MachineError:
    """Give up standard output, and return what to say of it.

    What is left in the buffer must go somewhere, or Python tries again when it ends, and fails with
    a traceback and a status of its own.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return MachineError(
        f"the result cannot be written to standard output: {error.strerror or error}",
        "free some space on that disk, or write elsewhere",
    )


class _Pace:
    """How long the rest of a stage takes, by the mean of the later half of what was done.

    The first step tells nothing: a GPU loads its programs then, which takes as long as twenty.

    Args:
        total: Steps; 0 where that is not known.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.last = time.monotonic()
        # Steps that took time, and when: from the end of the first half on.
        self.marks = deque([(0, self.last)])

    def advance(self, steps: int, known: bool) -> None:
        self.done += steps
        self.last = time.monotonic()
        if known or not steps:
            return
        worked = self.marks[-1][0] + steps
        self.marks.append((worked, self.last))
        while self.marks[1][0] <= worked / 2:
            self.marks.popleft()

    def left(self) -> str:
        """Say it, such as "about 5 min 20 s left"; empty where nothing tells."""
        (before, then), (worked, lately) = self.marks[0], self.marks[-1]
        if not (self.total and before):
            return ""
        seconds = (lately - then) / (worked - before) * (self.total - self.done)
        since = time.monotonic() - lately
        return f"about {duration(round(max(0.0, seconds - since)))} left"


class _LeftColumn(ProgressColumn):
    def __init__(self, pace: _Pace) -> None:
        super().__init__()
        self.pace = pace

    def render(self, task: Task) -> Text:  # noqa: ARG002
        return Text(self.pace.left())


class _Bar:
    """A stage on a terminal."""

    def __init__(self, console: Console, name: str, total: int) -> None:
        self.pace = _Pace(total)
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _LeftColumn(self.pace),
            TextColumn("{task.fields[status]}", markup=False),
            console=console,
        )
        self.task: TaskID = self.progress.add_task(name, total=total or None, status="")
        self.progress.start()

    def advance(self, event: StageAdvanced) -> None:
        self.pace.advance(event.steps, event.known)
        self.progress.update(self.task, advance=event.steps)
        if event.status:
            self.progress.update(self.task, status=event.status)

    def finish(self, seconds: float | None) -> None:  # noqa: ARG002
        self.progress.stop()


class _Lines:
    """A stage in a log: a line at its start, one now and then, one at its end."""

    def __init__(self, console: Console, name: str, total: int) -> None:
        self.console, self.name = console, name
        self.pace = _Pace(total)
        self.said = self.pace.last
        console.print(Text(f"{name}: {total} to do" if total else name))

    def advance(self, event: StageAdvanced) -> None:
        self.pace.advance(event.steps, event.known)
        if self.pace.last - self.said < SECONDS_BETWEEN_LINES:
            return
        self.said = self.pace.last
        of = f"/{self.pace.total}" if self.pace.total else " done"
        parts = [f"{self.name}: {self.pace.done}{of}", self.pace.left(), event.status]
        self.console.print(Text(", ".join(part for part in parts if part)))

    def finish(self, seconds: float | None) -> None:
        if seconds is not None:
            self.console.print(Text(f"{self.name}: done in {duration(seconds)}"))

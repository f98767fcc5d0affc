"""What a recipe says while it works: small facts, not words on a screen.

The recipes emit these to a `Listener`; the console draws them, a library user may ignore them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

Severity = Literal["info", "warning"]


@dataclass(frozen=True, slots=True)
class PartStarted:
    """One of the large parts of a recipe begins; stages that follow belong to it.

    Attributes:
        number: Which, from 1.
        count: How many there are.
    """

    number: int
    count: int


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage of a recipe begins.

    Attributes:
        name: What is being done, in the present tense ("Reading images").
        total: How many steps it has; 0 where that is not known.
    """

    name: str
    total: int


@dataclass(frozen=True, slots=True)
class StageAdvanced:
    """The running stage has finished some steps.

    Attributes:
        steps: How many steps were finished since the last such event.
        status: A short live figure, such as "loss 0.41"; empty for none.
        known: Whether they were done by an earlier, interrupted run, and took no time now.
    """

    steps: int = 1
    status: str = ""
    known: bool = False


@dataclass(frozen=True, slots=True)
class StageFinished:
    """The running stage is over.

    Attributes:
        seconds: How long it took.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should read."""

    text: str
    severity: Severity = "info"


Event = PartStarted | StageStarted | StageAdvanced | StageFinished | Notice
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Drop the event: the listener of a caller who wants silence."""


class Clock:
    """Wall-clock seconds of a stage, set when it is over."""

    seconds = 0.0


@contextmanager
def stage(name: str, total: int, listener: Listener) -> Iterator[Clock]:
    """Announce a stage, time it, and announce its end unless it failed."""
    clock = Clock()
    start = time.perf_counter()
    listener(StageStarted(name, total))
    yield clock
    clock.seconds = round(time.perf_counter() - start, 3)
    listener(StageFinished(clock.seconds))

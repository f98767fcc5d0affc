"""Two things measured in turns, so that whatever else the machine does hits both alike."""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seconds:
    """What one call took.

    Attributes:
        wall: On the clock.
        cpu: Of all threads and of children that ended, which other load on the machine changes
            little.
    """

    wall: float
    cpu: float


def timed(work: Callable[[], object]) -> Seconds:
    """Call `work` once. It must wait for whatever it starts on a GPU."""
    wall, cpu = time.perf_counter(), _cpu_seconds()
    work()
    return Seconds(time.perf_counter() - wall, _cpu_seconds() - cpu)


def in_turns(
    ours: Callable[[], object], other: Callable[[], object], pairs: int
) -> list[tuple[Seconds, Seconds]]:
    """Measure two things in pairs, after a call of each that warms caches up.

    Every second pair goes the other way round, so that a drift in one direction cancels.

    Returns:
        (ours, other) of each pair.
    """
    ours()
    other()
    measured = []
    for turn in range(pairs):
        if turn % 2:
            second = timed(other)
            first = timed(ours)
        else:
            first = timed(ours)
            second = timed(other)
        measured.append((first, second))
    return measured


def _cpu_seconds() -> float:
    usages = (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN),
    )
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)

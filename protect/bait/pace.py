"""How many rounds fit in a time: planned from measured ones, fewer if the machine slows down."""

import math
import time
from collections import deque

from protect.bait.engine import Engine
from protect.bait.state import pack, unpack
from protect.config.values import TimeBudget
from protect.errors import ConfigError
from protect.system.processes import from_first

LEAST_ROUNDS = 10
"""Fewer hardly move the noise from where it starts."""
MARGIN = 0.05
"""Share of the time for the rounds that is kept for surprises."""
TOLERANCE = 0.05
"""Share of the budget that the rounds may overrun before they are made fewer."""
LAPS = 6
"""Ends of rounds by which it is judged how long the ones to come will take."""


class Pace:
    """Plans the rounds of an engine so that the whole run keeps to its time.

    The noise depends on time through the number of rounds only: it is set before anything depends
    on it, and not changed afterwards unless the machine has become too slow for it.

    Args:
        budget: Wall-clock time of the whole run.
        started: When the run began, by `time.monotonic`.
        writing: Seconds that will be needed after the rounds.
    """

    def __init__(self, budget: TimeBudget, started: float, writing: float) -> None:
        self.budget = budget
        self.started = started
        self.writing = writing
        self.end = started + budget.seconds - writing
        self.laps: deque[float] = deque(maxlen=LAPS)

    def plan(self, engine: Engine, most: int) -> float:
        """Do the first round, time a second one and undo it, and set the number of rounds.

        Args:
            engine: Before its first round.
            most: Never plan more.

        Returns:
            Seconds a round.

        Raises:
            ConfigError: If fewer than `LEAST_ROUNDS` fit, saying which budget would do.
        """
        engine.advance()
        first = {name: value.clone() for name, value in pack(engine).items()}
        before = time.monotonic()
        engine.advance()
        seconds = time.monotonic() - before
        unpack(engine, first)
        engine.plan(from_first(lambda: self._fitting(seconds, most)))
        return seconds

    def keep(self, engine: Engine) -> str:
        """Make the rounds fewer if those left would overrun; call it after each.

        Returns:
            What the owner should know about it; nothing where the plan is kept.
        """
        self.laps.append(time.monotonic())
        rounds = from_first(lambda: self._still_fitting(engine))
        if rounds == engine.effort.rounds:
            return ""
        planned = engine.effort.rounds
        engine.plan(rounds)
        self.laps.clear()
        return (
            f"the machine has become slower: from round {engine.round} on {rounds} rounds are "
            f"planned, no longer {planned}, so --rounds {rounds} does not make quite the same noise"
        )

    def _fitting(self, seconds: float, most: int) -> int:
        now = time.monotonic()
        rounds = 1 + math.floor((self.end - now) * (1 - MARGIN) / seconds)
        if rounds < LEAST_ROUNDS:
            ahead = (LEAST_ROUNDS - 1) * seconds / (1 - MARGIN) + self.writing
            least = math.ceil((now - self.started + ahead) * (1 + TOLERANCE))
            raise ConfigError(
                f"--time-budget {self.budget.text} is too short: {now - self.started:.0f} s are "
                f"over, a round takes {seconds:.1f} s and writing about {self.writing:.0f} s",
                f"give at least --time-budget {least}s, for {LEAST_ROUNDS} rounds; or make rounds "
                "shorter by a smaller --size or --batch-size",
            )
        return min(rounds, most)

    def _still_fitting(self, engine: Engine) -> int:
        rounds = engine.effort.rounds
        left = rounds - engine.round
        if len(self.laps) < LAPS // 2 or left == 0:
            return rounds
        seconds = (self.laps[-1] - self.laps[0]) / (len(self.laps) - 1)
        rest = self.end - self.laps[-1]
        if left * seconds <= rest + TOLERANCE * self.budget.seconds:
            return rounds
        return engine.round + min(left, max(0, math.floor(rest / seconds)))

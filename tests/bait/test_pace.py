"""Rounds that fit in a time, on a clock that only rounds and the test move."""

import re
from types import SimpleNamespace

import pytest
import torch
from bait.test_engine import make_engine

from protect.bait import pace as pace_module
from protect.bait.engine import Engine
from protect.bait.pace import LEAST_ROUNDS, Pace
from protect.config.values import TimeBudget
from protect.errors import ConfigError


class Clock:
    """Every round takes `seconds`, and the first, which is cold, twice that."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.now, self.seconds = 1000.0, seconds
        monkeypatch.setattr(pace_module, "time", SimpleNamespace(monotonic=lambda: self.now))
        advance = Engine.advance

        def timed(engine: Engine):
            self.now += self.seconds * (2 if engine.round == 0 else 1)
            return advance(engine)

        monkeypatch.setattr(Engine, "advance", timed)


def run(pace: Pace, engine: Engine) -> list[str]:
    """Run to the end; return what the owner is told."""
    notes = []
    while not engine.finished:
        engine.advance()
        notes.append(pace.keep(engine))
    return [note for note in notes if note]


@pytest.mark.parametrize("budget", ["100s", "3m", "1h"])
def test_the_rounds_fill_the_time_and_do_not_exceed_it(monkeypatch, budget):
    clock = Clock(monkeypatch, seconds=4.0)
    clock.now += 7  # reading
    pace = Pace(TimeBudget.parse(budget), started=1000.0, writing=10.0)
    engine = make_engine()
    assert pace.plan(engine, most=60) == 4.0
    notes = run(pace, engine)
    took = clock.now + 10.0 - 1000.0
    assert took <= pace.budget.seconds
    assert engine.round == 60 or took >= 0.85 * pace.budget.seconds
    assert notes == []


def test_the_noise_is_that_of_as_many_rounds_without_a_clock(monkeypatch):
    Clock(monkeypatch, seconds=4.0)
    pace, engine = Pace(TimeBudget.parse("80s"), 1000.0, 0.0), make_engine()
    pace.plan(engine, most=60)
    assert engine.round == 1
    run(pace, engine)
    twin = make_engine()
    twin.plan(engine.round)
    while not twin.finished:
        twin.advance()
    assert torch.equal(engine.patterns.weight, twin.patterns.weight)
    assert engine.bound == twin.bound


@pytest.mark.parametrize("slower", [1.02, 1.5, 3.0])
def test_a_machine_that_becomes_slower_gets_fewer_rounds_and_a_note(monkeypatch, slower):
    clock = Clock(monkeypatch, seconds=4.0)
    pace, engine = Pace(TimeBudget.parse("200s"), 1000.0, 10.0), make_engine()
    pace.plan(engine, most=180)
    planned = engine.effort.rounds
    for _ in range(10):
        engine.advance()
        pace.keep(engine)
    clock.seconds *= slower
    notes = run(pace, engine)
    assert clock.now + 10.0 - 1000.0 <= 1.1 * 200
    assert (engine.round < planned) == (slower > 1.1) == bool(notes)
    if notes:
        assert f"{engine.round} rounds" in notes[-1]
        assert str(planned) in notes[0]


def test_a_time_that_is_too_short_is_refused_and_the_least_that_is_named_works(monkeypatch):
    clock = Clock(monkeypatch, seconds=4.0)
    clock.now += 7
    with pytest.raises(ConfigError, match="too short") as caught:
        Pace(TimeBudget.parse("30s"), 1000.0, 10.0).plan(make_engine(), most=60)
    least = re.search(r"--time-budget (\d+)s", caught.value.hint)[1]
    assert 60 < int(least) < 85
    clock.now = 1007.0
    engine = make_engine()
    Pace(TimeBudget.parse(f"{least}s"), 1000.0, 10.0).plan(engine, most=60)
    assert LEAST_ROUNDS <= engine.effort.rounds <= LEAST_ROUNDS + 1

"""The batch size that memory has room for, on memory that only tries and the test move."""

import pytest
import torch
from bait.test_engine import CLASSES, make_engine

from protect.bait import batches
from protect.bait.batches import FIRST, PER_CLASS, SHARE, batch_that_fits, wanted_batch
from protect.bait.engine import Engine
from protect.bait.state import pack
from protect.errors import ConfigError

FIXED, EACH, IN_USE = 1_000, 10, 5_000


class Memory:
    """A try takes a fixed amount and so much a picture; what was taken at most is remembered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
        self.peak, self.tried = IN_USE, []
        advance = Engine.advance

        def counted(engine: Engine):
            size = engine.effort.batch_size
            self.tried.append(size)
            self.peak = max(self.peak, IN_USE + FIXED + EACH * size)
            return advance(engine)

        monkeypatch.setattr(Engine, "advance", counted)
        monkeypatch.setattr(batches, "working_memory", lambda _: (IN_USE, free))
        monkeypatch.setattr(batches, "peak_working_memory", lambda _: self.peak)


def engine_of(batch_size: int) -> Engine:
    engine = make_engine()
    engine.plan(batch_size=batch_size)
    return engine


@pytest.mark.parametrize("wanted", [2, FIRST, 3 * FIRST, 128])
def test_with_enough_memory_it_is_what_the_method_wants(monkeypatch, wanted):
    memory = Memory(monkeypatch, free=10**9)
    assert batch_that_fits(engine_of(wanted)) == max(wanted, PER_CLASS * CLASSES)
    assert all(size < wanted for size in memory.tried)


@pytest.mark.parametrize("free", [1, 3_000, 4_000, 5_000, 8_000])
def test_no_try_takes_more_than_is_free_and_the_largest_is_found(monkeypatch, free):
    memory = Memory(monkeypatch, free=free)
    found = batch_that_fits(engine_of(512))
    assert found < 512
    assert found in (FIRST, *(2 * size for size in memory.tried))
    assert found == FIRST or FIXED + EACH * found <= SHARE * free
    # Twice as many would not have been safe to try.
    assert 2 * (FIXED + EACH * found) > SHARE * free


def test_the_engine_goes_on_as_if_nothing_had_been_tried(monkeypatch):
    engine, twin = engine_of(64), engine_of(64)
    Memory(monkeypatch, free=10**9)
    before = pack(twin)
    batch_that_fits(engine)
    after = pack(engine)
    assert after.keys() == before.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    engine.advance(), twin.advance()
    assert torch.equal(engine.patterns.weight, twin.patterns.weight)


def test_many_classes_want_company_for_each():
    assert wanted_batch(engine_of(128)) == 128
    assert wanted_batch(make_engine(classes=50)) == 50 * PER_CLASS


def test_a_system_that_does_not_tell_gets_no_guess(monkeypatch):
    monkeypatch.setattr(batches, "working_memory", lambda _: None)
    with pytest.raises(ConfigError, match="cannot tell how much memory"):
        batch_that_fits(engine_of(8))

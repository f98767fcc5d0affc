"""Answers are counted by class, and only what can be counted is an answer."""

import pytest
import torch
from helpers import learned
from hypothesis import given
from hypothesis import strategies as st

from protect.evaluation.learned import Answers, Learned


@given(
    pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=50),
    some=st.booleans(),
)
def test_counts_are_what_a_loop_counts(pairs, some):
    labels = [label for label, _ in pairs]
    answers = [answer for _, answer in pairs] if some else []
    counted = Answers.count(torch.tensor(answers, dtype=torch.int64), torch.tensor(labels), 5)
    for c in range(5):
        assert counted.shown[c] == labels.count(c)
        assert counted.given[c] == answers.count(c)
        assert counted.right[c] == (pairs.count((c, c)) if some else 0)
    assert counted.n == len(pairs)
    assert counted.accuracy == (sum(a == b for a, b in pairs) / len(pairs) if some else 0)


@pytest.mark.parametrize(
    "counts",
    [
        ((), (), ()),
        ((0, 0), (0, 0), (0, 0)),
        ((10, 10), (10, 11), (5, 5)),
        ((10, 10), (10, 10), (11, 5)),
        ((10, 10), (4, 16), (5, 5)),
        ((10, 10), (10, 10), (-1, 5)),
        ((10, 10), (10,), (5, 5)),
    ],
)
def test_impossible_answers_are_none(counts):
    with pytest.raises(ValueError, match=r"answered|shorter|longer"):
        Answers(*counts)


def test_the_best_is_the_first_epoch_of_the_peak():
    sound = learned(0.2, 0.6, 0.6, 0.4)
    assert sound.curve == (0.2, 0.6, 0.6, 0.4)
    other = Answers((100, 100), (100, 100), (80, 80))
    assert Learned((*sound.epochs, other, other)).best is other
    assert sound.best is sound.epochs[1]

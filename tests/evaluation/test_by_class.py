"""What was learned of each class, and what an average hides."""

from statistics import fmean

import numpy as np
import pytest
from helpers import learned
from hypothesis import given
from hypothesis import strategies as st

from protect.evaluation.by_class import by_class, class_shares, informedness
from protect.evaluation.learned import Answers
from protect.evaluation.verdict import Judgement

PASS = Judgement(0.1, 0.05, 0.15, "pass", "retained 0.10")


def answers(rows: list[list[int]]) -> Answers:
    """Return those of a table of how often each class (row) was taken for each (column)."""
    table = np.array(rows)
    counts = table.sum(1), table.sum(0), table.diagonal()
    return Answers(*(tuple(map(int, kind)) for kind in counts))


def shares(protected, control, alone=(), labels="abc", max_retained=0.3):
    return class_shares(labels, protected, control, alone, max_retained)


KNOWN = answers([[95, 5, 0], [0, 90, 10], [5, 5, 90]])


@given(st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4), min_size=4, max_size=4))
def test_the_mean_over_equal_classes_is_the_accuracy_above_chance(rows):
    filled = answers([[*row, 200 - sum(row)] for row in rows] + [[0, 0, 0, 0, 200]])
    mean = fmean(informedness([filled], index).value for index in range(5))
    assert mean == pytest.approx((filled.accuracy - 1 / 5) / (1 - 1 / 5))


def test_one_answer_to_everything_knows_no_class():
    for share in shares([answers([[0, 100, 0]] * 3)], [KNOWN]):
        assert share.learned == 0
        assert (share.retained, share.verdict) == (0, "pass")
        assert share.retained_low == 0 < share.retained_high < 0.3


def test_a_class_that_stays_learnable_is_found_behind_a_good_average():
    readable = answers([[80, 10, 10], [0, 0, 100], [0, 100, 0]])
    a, b, c = shares([readable], [KNOWN])
    assert [share.verdict for share in (a, b, c)] == ["fail", "pass", "pass"]
    # 80 % of its own and none of the others, beside 95 % and 2.5 %.
    assert (a.learned, a.control_learned) == pytest.approx((0.8, 0.925))
    assert a.retained == pytest.approx(0.8 / 0.925)
    assert a.retained_low < a.retained < a.retained_high
    told = by_class(PASS, (a, b, c), decides=False)
    assert told.verdict == "pass"
    assert told.reason == "retained 0.10, but of single classes more: a 0.86"
    assert by_class(PASS, (a, b, c), decides=True).verdict == "fail"
    assert by_class(PASS, (b, c), decides=True) == PASS


@pytest.mark.parametrize("verdict", ["fail", "inconclusive"])
def test_classes_make_no_pass_of_what_is_none(verdict):
    judgement = Judgement(0.5, 0.4, 0.6, verdict, "retained 0.50")
    assert by_class(judgement, shares([KNOWN], [KNOWN]), decides=True) == judgement


def test_many_classes_are_counted_and_the_worst_named():
    some, more = (learned(share, shown=[100] * 8).best for share in (0.9, 0.95))
    kept = shares([some], [more], labels="abcdefgh")
    assert {share.verdict for share in kept} == {"fail"}
    assert "more: a 0.94, b 0.94, c 0.94, 5 more" in by_class(PASS, kept, decides=False).reason


@pytest.mark.parametrize(("count", "enough"), [(9, False), (10, True)])
def test_few_pictures_are_no_ground_for_a_class(count, enough):
    known = Answers((count, 200), (count, 200), (count, 200))
    small, large = shares([known], [known], labels="ab")
    assert (small.n_test, small.retained) == (count, 1)
    assert (small.verdict, large.verdict) == ("fail" if enough else "inconclusive", "fail")
    hidden = Answers((count, 200), (0, count + 200), (0, 200))
    small, _ = shares([hidden], [known], labels="ab")
    assert small.verdict == ("pass" if enough else "inconclusive")
    told = by_class(PASS, [small], decides=True)
    assert told.verdict == small.verdict
    if not enough:
        assert told.reason == "retained 0.10, but this cannot be told of: a 0.00"
    assert by_class(PASS, [small], decides=False) == PASS


def test_a_class_without_test_pictures_is_left_out():
    lacking = Answers((100, 0, 100), (100, 0, 100), (90, 0, 90))
    assert [share.label for share in shares([lacking], [lacking])] == ["a", "c"]


def test_a_class_that_the_control_did_not_learn_is_not_judged():
    blind = answers([[0, 100, 0], [0, 100, 0], [0, 0, 100]])
    a, b, c = shares([KNOWN], [blind])
    assert (a.retained, a.retained_low, a.retained_high) == (None, None, None)
    assert a.verdict == "inconclusive"
    assert b.verdict == c.verdict == "fail"
    assert "told of: a" in by_class(PASS, [a], decides=True).reason


def test_what_clean_pictures_give_alone_is_the_floor():
    alone = answers([[60, 20, 20], [20, 60, 20], [20, 20, 60]])
    protected = answers([[63, 19, 18], [19, 62, 19], [19, 19, 62]])
    for share, index in zip(shares([protected], [KNOWN], [alone]), range(3), strict=True):
        assert share.floor == informedness([alone], index).value == pytest.approx(0.4)
        expected = (share.learned - share.floor) / (share.control_learned - share.floor)
        assert share.retained == pytest.approx(expected)
        assert share.retained < 0.15
    blind = answers([[0, 100, 0]] * 3)
    assert {share.floor for share in shares([protected], [KNOWN], [blind])} == {0}


@pytest.mark.parametrize(
    ("hit", "alarm", "own", "rest"), [(0.2, 0.1, 100, 900), (0.9, 0.02, 30, 270)]
)
def test_its_interval_covers_the_truth(hit, alarm, own, rest):
    draws = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        hits, alarms = int(draws.binomial(own, hit)), int(draws.binomial(rest, alarm))
        given = hits + alarms
        drawn = Answers((own, rest), (given, own + rest - given), (hits, rest - alarms))
        estimate = informedness([drawn], 0)
        covered += estimate.low <= hit - alarm <= estimate.high
    assert 0.93 < covered / 1000 < 0.98


def test_several_trainings_widen_it():
    one = [learned(0.5).best]
    alike, apart = one * 3, [learned(share).best for share in (0.3, 0.5, 0.7)]
    single, same, spread = (informedness(them, 0) for them in (one, alike, apart))
    assert single == same
    assert single.value == pytest.approx(spread.value)
    assert spread.high - spread.low > 2 * (single.high - single.low)

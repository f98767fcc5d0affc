"""From accuracies to a verdict, at the edges too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protect.evaluation import verdict
from protect.evaluation.verdict import (
    Estimate,
    control_learned,
    estimate,
    overall,
    ratio_interval,
    seeds_interval,
    wilson_interval,
)


def judge(protected, control, chance, n, max_retained=0.3, floor=None, doubt=""):
    """Judge one training each, or several."""
    return verdict.judge(
        protected if isinstance(protected, list) else [protected],
        control if isinstance(control, list) else [control],
        chance=chance,
        floor=chance if floor is None else floor,
        n_test=n,
        max_retained=max_retained,
        doubt=doubt,
    )


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Reference values of the score interval without continuity correction (Newcombe 1998).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_agrees_with_the_literature(successes, n, low, high):
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(n=st.integers(1, 10_000), data=st.data())
def test_wilson_interval_holds_the_share(n, data):
    successes = data.draw(st.integers(0, n))
    low, high = wilson_interval(successes, n)
    assert 0 <= low <= successes / n <= high <= 1


@pytest.mark.parametrize(
    ("protected", "control", "n", "verdict"),
    [
        (0.10, 0.80, 1000, "pass"),
        (0.14, 0.80, 1000, "pass"),
        (0.80, 0.80, 1000, "fail"),
        (0.45, 0.80, 1000, "fail"),
        (0.30, 0.80, 1000, "inconclusive"),
        (0.10, 0.80, 10, "inconclusive"),
        (0.10, 0.15, 1000, "inconclusive"),
        (0.09, 0.80, 1000, "pass"),
        (0.00, 0.80, 1000, "inconclusive"),
        (0.10, 0.80, 29, "inconclusive"),
    ],
)
def test_the_verdict_of_ten_classes(protected, control, n, verdict):
    assert judge(protected, control, 0.1, n).verdict == verdict


def test_retained_is_the_share_of_what_the_control_learned_above_chance():
    judged = judge(0.24, 0.8, 0.1, 1000, 0.3)
    assert judged.retained == pytest.approx(0.2)
    assert judged.low < 0.2 < judged.high
    assert judge(0.09, 0.8, 0.1, 1000, 0.3).retained == 0


def test_below_chance_is_nothing_retained_and_a_full_copy_is_one():
    assert judge(0.8, 0.8, 0.1, 1000, 0.3).retained == pytest.approx(1)


@pytest.mark.parametrize(
    ("control", "chance", "learned"),
    [(0.19, 0.1, False), (0.2, 0.1, True), (0.74, 0.5, False), (0.75, 0.5, True), (1.0, 0.9, True)],
)
def test_what_a_control_must_reach(control, chance, learned):
    assert control_learned(control, chance) is learned


def test_a_control_that_did_not_learn_has_no_figures():
    judged = judge(0.1, 0.12, 0.1, 1000, 0.3)
    assert (judged.retained, judged.low, judged.high) == (None, None, None)
    assert judged.verdict == "inconclusive"
    assert "control" in judged.reason


def test_the_worst_cell_decides():
    assert overall(["pass", "pass"]) == "pass"
    assert overall(["pass", "inconclusive"]) == "inconclusive"
    assert overall(["inconclusive", "fail", "pass"]) == "fail"


def test_more_test_pictures_narrow_the_interval():
    def width(n: int) -> float:
        judged = judge(0.2, 0.8, 0.1, n, 0.3)
        return judged.high - judged.low

    assert width(4000) < width(1000) < width(100)
    assert width(4000) == pytest.approx(width(1000) / 2, rel=0.1)
    assert judge(0.2, 0.8, 0.1, 1).retained is None


def test_an_interval_over_seeds_is_students():
    """Reference: the textbook interval of 4, 5, 6 (deviation 1, quantile 4.3027)."""
    assert seeds_interval([4, 5, 6]) == pytest.approx((5 - 2.4841, 5 + 2.4841), abs=1e-4)


def test_seeds_that_disagree_widen_the_interval():
    steady = judge([0.2, 0.2, 0.2], [0.8] * 3, 0.1, 1000)
    wild = judge([0.1, 0.2, 0.3], [0.8] * 3, 0.1, 1000)
    assert steady.retained == pytest.approx(wild.retained)
    assert steady.verdict == "pass"
    assert wild.verdict == "inconclusive"
    assert wild.high > steady.high
    assert wild.low <= steady.low


def test_what_a_few_clean_pictures_give_alone_is_not_held_against_the_protection():
    assert judge(0.65, 0.8, 0.1, 1000).verdict == "fail"
    judged = judge(0.65, 0.8, 0.1, 1000, floor=0.64)
    assert judged.retained == pytest.approx(0.0625)
    judged = judge(0.65, 0.8, 0.1, 1000, floor=0.79)
    assert judged.verdict == "inconclusive"
    assert "clean pictures" in judged.reason


@pytest.mark.parametrize(
    ("protected", "verdict"), [(0.1, "inconclusive"), (0.3, "inconclusive"), (0.8, "fail")]
)
def test_a_doubt_forbids_a_pass_and_excuses_no_failure(protected, verdict):
    judged = judge(protected, 0.8, 0.1, 1000, doubt="the pictures are black")
    assert judged.verdict == verdict
    assert ("black" in judged.reason) == (protected == 0.1)


def plausible(ratio: float, part: Estimate, whole: Estimate) -> float:
    """Return how far 0 lies inside the interval of `part - ratio * whole`; below 0 outside."""
    difference = part.value - ratio * whole.value
    down = ((part.value - part.low) ** 2 + ratio**2 * (whole.high - whole.value) ** 2) ** 0.5
    up = ((part.high - part.value) ** 2 + ratio**2 * (whole.value - whole.low) ** 2) ** 0.5
    return min(down - difference, up + difference)


ends = st.floats(0.001, 0.3)


@given(
    value=st.floats(-0.2, 0.9),
    below=ends,
    above=ends,
    whole_value=st.floats(0.05, 0.9),
    shrink=st.floats(0.01, 0.99),
    whole_above=st.floats(0.001, 0.9),
)
def test_the_interval_of_a_ratio_ends_where_the_difference_stops_being_plausible(
    value, below, above, whole_value, shrink, whole_above
):
    part = Estimate(value - below, value, value + above)
    whole = Estimate(whole_value * shrink, whole_value, whole_value + whole_above)
    low, high = ratio_interval(part, whole)
    assert 0 <= low <= max(0.0, value / whole_value) + 1e-9
    assert high >= max(0.0, value / whole_value) - 1e-9
    for end in (low, high):
        if end > 0:
            assert plausible(end, part, whole) == pytest.approx(0, abs=1e-6 * (1 + end))
    if high > low:
        assert plausible((low + high) / 2, part, whole) > -1e-6 * (1 + high)


def test_an_exactly_known_whole_only_scales_the_interval():
    part = Estimate(0.1, 0.2, 0.35)
    assert ratio_interval(part, Estimate(0.5, 0.5, 0.5)) == pytest.approx((0.2, 0.7))
    assert ratio_interval(Estimate(-0.3, -0.2, -0.1), Estimate(0.5, 0.5, 0.5)) == (0.0, 0.0)


def test_the_interval_of_retained_covers_the_truth_as_often_as_it_says():
    """Independent test sets, 1,000 experiments a case: the assumption under which it is exact."""
    draws = np.random.default_rng(0)
    for truth, control, n in ((0.25, 0.8, 200), (0.5, 0.8, 200), (0.2, 0.5, 400), (0.8, 0.8, 300)):
        wanted = (truth - 0.1) / (control - 0.1)
        covered = 0
        for got, full in draws.binomial(n, [truth, control], (1000, 2)) / n:
            low, high = ratio_interval(
                estimate([got], n).above(0.1), estimate([full], n).above(0.1)
            )
            covered += low <= wanted <= high
        assert 0.93 <= covered / 1000 <= 0.975


def test_the_control_counts_too():
    """The same protected accuracy: a control of few test pictures or unsteady seeds says less."""

    def width(control: list[float]) -> float:
        judged = judge([0.3] * 3, control, 0.1, 1000)
        return judged.high - judged.low

    assert width([0.75, 0.8, 0.85]) > width([0.8] * 3)
    exact = judge(0.45, 0.8, 0.1, 100)
    protected_alone = [(end - 0.1) / 0.7 for end in wilson_interval(45, 100)]
    assert exact.low < protected_alone[0]
    assert exact.high > protected_alone[1]


def test_a_control_whose_interval_reaches_the_floor_is_no_control():
    judged = judge(0.1, 0.2, 0.1, 30)
    assert judged.retained is None
    assert "may have learned nothing" in judged.reason
    judged = judge([0.1, 0.1], [0.9, 0.3], 0.1, 1000)
    assert "may have learned nothing" in judged.reason


def test_without_a_control_there_are_no_figures_and_a_doubt_explains_a_broken_victim():
    arms = {"chance": 0.1, "floor": 0.1, "n_test": 1000, "max_retained": 0.3}
    judged = verdict.judge([0.1], [0.8], broken="the control diverged", **arms)
    assert (judged.verdict, judged.retained) == ("inconclusive", None)
    assert judged.reason == "the control diverged"
    judged = verdict.judge([0.0], [0.8], doubt="it diverged", **arms)
    assert (judged.verdict, judged.reason) == ("inconclusive", "it diverged")


@pytest.mark.parametrize("n_seeds", [1, 2, 3, 5, 10])
def test_it_covers_the_errors_of_the_trainings_as_well(n_seeds):
    """Trainings of one experiment share their test pictures, of which some are harder than others.

    One training tells nothing of that error, so none is made there. A control that may have learned
    nothing gets no interval.
    """
    draws = np.random.default_rng(0)
    n, deviation = 300, 0.05 if n_seeds > 1 else 0.0
    covered = []
    for _ in range(1000):
        arms = []
        for truth in (0.25, 0.8):
            reached = draws.normal(truth, deviation, n_seeds)
            shares = (draws.random(n)[:, None] < reached).mean(0)
            arms.append(estimate(shares.tolist(), n).above(0.1))
        if arms[1].low > 0:
            low, high = ratio_interval(*arms)
            covered.append(low <= 0.15 / 0.7 <= high)
    assert len(covered) > 400
    assert 0.935 <= np.mean(covered) <= 0.99


@pytest.mark.parametrize("n_seeds", [2, 3, 10])
def test_the_errors_of_pictures_and_of_trainings_add_up_by_their_squares(n_seeds):
    one, alike = estimate([0.4], 100), estimate([0.4] * n_seeds, 100)
    assert (alike.low, alike.high) == pytest.approx((one.low, one.high))
    apart = [0.4 + 0.02 * (-1) ** i for i in range(n_seeds)]
    sampled, trained, both = (
        estimate([sum(apart) / n_seeds], 100),
        seeds_interval(apart),
        estimate(apart, 100),
    )
    squares = (both.value - sampled.low) ** 2 + (both.value - trained[0]) ** 2
    assert (both.value - both.low) ** 2 == pytest.approx(squares)
    squares = (sampled.high - both.value) ** 2 + (trained[1] - both.value) ** 2
    assert (both.high - both.value) ** 2 == pytest.approx(squares)

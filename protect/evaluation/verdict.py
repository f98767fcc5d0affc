"""From accuracies to a verdict: what share of the control's learning the protection let through."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from protect.documents.verify_report import Verdict

Z_95 = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""
T_95 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
"""The same of Student's distribution with 1 to 10 degrees of freedom; more get the last."""
FEWEST_OF_A_CLASS = 10
"""Fewer test pictures of a class are no ground for one of it: 2 of 2 may well be luck."""
FEWEST_TEST_PICTURES = 30
"""Fewer are no ground for a verdict, however clear: each is worth three points of accuracy."""
SMALLEST_GAIN = 0.05
"""Of the control over the floor; a smaller one is no ground for a ratio."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A quantity with its 95 % interval; `low <= value <= high`."""

    low: float
    value: float
    high: float

    def above(self, floor: float) -> "Estimate":
        """Return by how much it is above an exactly known floor."""
        return Estimate(self.low - floor, self.value - floor, self.high - floor)

    def widened(self, below: float, above: float) -> "Estimate":
        """Return it with an independent error more, whose interval reaches so far."""
        return Estimate(
            self.value - math.hypot(self.value - self.low, below),
            self.value,
            self.value + math.hypot(self.high - self.value, above),
        )

    def over_seeds(self, values: Sequence[float]) -> "Estimate":
        """Return it with the error of the trainings, where there are several.

        Args:
            values: One a seed; this is their mean, with another error's interval.
        """
        if len(values) < 2:
            return self
        low, high = seeds_interval(values)
        return self.widened(self.value - low, high - self.value)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its figures.

    Attributes:
        retained: Share of what the control learned above chance, at least 0; None if it did not.
        low: Lower end of its 95 % interval.
        high: Upper end of it.
        verdict: "pass" where the whole interval is at or below the threshold and nothing else
            speaks against it, "fail" where all of it is above, else "inconclusive".
        reason: The same in words.
    """

    retained: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    reason: str


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion (Wilson 1927), within [0, 1]."""
    share = successes / n
    centre = share + Z_95**2 / (2 * n)
    spread = Z_95 * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    scale = 1 + Z_95**2 / n
    low, high = (centre - spread) / scale, (centre + spread) / scale
    # The interval holds the share; rounding must not push it out at 0 or 1.
    return max(0.0, min(low, share)), min(1.0, max(high, share))


def control_learned(control: float, chance: float) -> bool:
    """Say whether a control is good enough to compare with.

    It must reach twice chance, or get half of what chance leaves where chance is 1/3 or more (for
    two classes twice chance would ask for perfection).
    """
    return control >= min(2 * chance, (1 + chance) / 2)


def seeds_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return Student's 95 % interval of a mean over two or more independent trainings."""
    n = len(values)
    quantile = T_95[min(n - 1, len(T_95)) - 1]
    spread = quantile * stdev(values) / math.sqrt(n)
    return fmean(values) - spread, fmean(values) + spread


def estimate(accuracies: Sequence[float], n_test: int) -> Estimate:
    """Return the mean accuracy over the seeds, of all test pictures of the kind.

    The interval covers the test pictures (Wilson), which are the same for every seed, and with
    several seeds the trainings as well (Student). The two errors are independent: at each end they
    add up by their squares.

    Args:
        accuracies: One a seed.
        n_test: Test pictures.
    """
    return of_pictures(fmean(accuracies), n_test).over_seeds(accuracies)


def of_pictures(share: float, n: int) -> Estimate:
    """Return a share of `n` pictures with its interval (Wilson)."""
    low, high = wilson_interval(round(share * n), n)
    return Estimate(low, share, high)


def ratio_interval(part: Estimate, whole: Estimate) -> tuple[float, float]:
    """Return the 95 % interval of `part / whole`, not below 0 (MOVER-R).

    A ratio r is in it where 0 is in the interval of `part - r * whole`, whose distance to either
    end is the root of the summed squares of the distances of the two. Donner and Zou, "Closed-form
    confidence intervals for functions of the normal mean and standard deviation", Statistical
    Methods in Medical Research 21 (2012); Newcombe, "MOVER-R confidence intervals for ratios and
    products of two independently estimated quantities", the same journal, 25 (2016).

    It takes the two for independent. Here both are measured on the same test pictures, and a
    picture that is easy after one training tends to be easy after the other: the difference then
    varies less than it is said to, and the interval is too wide rather than too narrow.

    Args:
        part: Any quantity.
        whole: Its interval is above 0.
    """
    product = part.value * whole.value

    def root(part_end: float, whole_end: float) -> tuple[float, float, float]:
        """Return a, c and the root of the discriminant of `a r^2 - 2 product r + c = 0`."""
        a = whole_end * (2 * whole.value - whole_end)
        c = part_end * (2 * part.value - part_end)
        # Below 0 only by rounding, where both intervals are points.
        return a, c, math.sqrt(max(0.0, product**2 - a * c))

    low = high = 0.0
    if part.low > 0:
        _, c, spread = root(part.low, whole.high)
        low = c / (product + spread)
    if part.high > 0:
        a, _, spread = root(part.high, whole.low)
        high = (product + spread) / a
    return low, high


def judge(
    protected: Sequence[float],
    control: Sequence[float],
    *,
    chance: float,
    floor: float,
    n_test: int,
    max_retained: float,
    broken: str = "",
    doubt: str = "",
) -> Judgement:
    """Compare the peak accuracies of one cell.

    The interval of `retained` covers what `estimate` says, of both trainings. The floor is taken
    for exact.

    Args:
        protected: Peak clean-test accuracy after training on protected pictures, in [0, 1], one
            a seed.
        control: The same after training on the originals.
        chance: Accuracy of always answering the most frequent test class.
        floor: What the stranger reaches without the protected pictures: chance, or more where it
            has some clean ones.
        n_test: Test pictures.
        max_retained: The threshold, in [0, 1].
        broken: Why there is nothing to compare with; empty where there is.
        doubt: Why even the best figures are no pass; empty where there is no such reason.
    """
    if broken:
        return _no_comparison(broken)
    got, full = estimate(protected, n_test), estimate(control, n_test)
    if not control_learned(full.value, chance):
        return _no_comparison(
            f"the control learned too little to compare with ({full.value:.1%}, "
            f"chance {chance:.1%})"
        )
    if full.value - floor < SMALLEST_GAIN:
        return _no_comparison(
            f"the clean pictures alone do as well ({floor:.1%}) as with all originals "
            f"({full.value:.1%})"
        )
    if n_test < FEWEST_TEST_PICTURES:
        return _no_comparison(
            f"{n_test} test pictures are too few to tell: {FEWEST_TEST_PICTURES} are needed"
        )

    if got.high < chance / 2:  # a constant answer hardly does worse than that
        return _no_comparison(
            doubt
            or f"{got.value:.1%} is far below chance ({chance:.1%}): something was learned, "
            "the wrong way round, and answers can be turned round"
        )
    if full.low <= floor:
        return _no_comparison(
            f"the control may have learned nothing: {full.value:.1%}, with a 95 % interval that "
            f"reaches down to the floor ({floor:.1%}); try more test pictures, or more seeds"
        )
    share = share_retained(got, full, floor)
    retained, low, high = share.value, share.low, share.high
    verdict = compared(low, high, max_retained)
    if verdict == "pass" and doubt:
        verdict, reason = "inconclusive", f"retained {retained:.2f}, but {doubt}"
    elif verdict == "pass":
        reason = f"retained {retained:.2f}, at most {max_retained:g} allowed"
    elif verdict == "fail":
        reason = f"retained {retained:.2f}, only {max_retained:g} allowed"
    else:
        reason = (
            f"retained {retained:.2f}, but its 95 % interval [{low:.2f}, {high:.2f}] straddles "
            f"{max_retained:g}; {n_test} test pictures and {len(protected)} training runs are too "
            "few to tell"
        )
    return Judgement(retained, low, high, verdict, reason)


def share_retained(got: Estimate, full: Estimate, floor: float) -> Estimate:
    """Return what share of what `full` is above the floor `got` is above it, at least 0.

    Args:
        got: After training on the protected pictures.
        full: After training on the originals; its interval is above `floor`.
        floor: Without the protected pictures.
    """
    gained, learned = got.above(floor), full.above(floor)
    low, high = ratio_interval(gained, learned)
    return Estimate(low, max(0.0, gained.value / learned.value), high)


def compared(low: float, high: float, max_retained: float) -> Verdict:
    """Judge an interval by a threshold: all of it must be at or below, and fails if none is."""
    if high <= max_retained:
        return "pass"
    return "fail" if low > max_retained else "inconclusive"


def _no_comparison(reason: str) -> Judgement:
    return Judgement(None, None, None, "inconclusive", reason)


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst: one failed cell fails all, one inconclusive cell makes all so."""
    for verdict in ("fail", "inconclusive"):
        if verdict in verdicts:
            return verdict
    return "pass"

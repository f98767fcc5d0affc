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
FEWEST_TEST_PICTURES = 30
"""Below it the interval of the control, which is not counted, is too wide as well."""
SMALLEST_GAIN = 0.05
"""Of the control over the floor; a smaller one is no ground for a ratio."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its figures.

    Attributes:
        retained: Share of what the control learned above chance, at least 0; None if it did not.
        low: Lower end of its 95 % interval.
        high: Upper end of it.
        verdict: "pass" where the whole interval is at or below the threshold, "fail" where all of
            it is above, else "inconclusive".
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


def judge(
    protected: Sequence[float],
    control: Sequence[float],
    *,
    chance: float,
    floor: float,
    n_test: int,
    max_retained: float,
) -> Judgement:
    """Compare the peak accuracies of one cell.

    The interval covers the test pictures (Wilson), and with several seeds the trainings as well
    (Student): at each end the farther of the two.

    Args:
        protected: Peak clean-test accuracy after training on protected pictures, in [0, 1], one
            a seed.
        control: The same after training on the originals.
        chance: Accuracy of always answering the most frequent test class.
        floor: What the stranger reaches without the protected pictures: chance, or more where it
            has some clean ones.
        n_test: Test pictures.
        max_retained: The threshold, in [0, 1].
    """
    mean, control_mean = fmean(protected), fmean(control)
    if not control_learned(control_mean, chance):
        return _no_comparison(
            f"the control learned too little to compare with ({control_mean:.1%}, "
            f"chance {chance:.1%})"
        )
    if control_mean - floor < SMALLEST_GAIN:
        return _no_comparison(
            f"the clean pictures alone do as well ({floor:.1%}) as with all originals "
            f"({control_mean:.1%})"
        )
    if n_test < FEWEST_TEST_PICTURES:
        return _no_comparison(
            f"{n_test} test pictures are too few to tell: {FEWEST_TEST_PICTURES} are needed"
        )

    def share(accuracy: float) -> float:
        return max(0.0, (accuracy - floor) / (control_mean - floor))

    low, high = wilson_interval(round(mean * n_test), n_test)
    if high < chance / 2:  # a constant answer hardly does worse than that
        return _no_comparison(
            f"{mean:.1%} is far below chance ({chance:.1%}): something was learned, "
            "the wrong way round, and answers can be turned round"
        )
    if len(protected) > 1:
        seeds_low, seeds_high = seeds_interval(protected)
        low, high = min(low, seeds_low), max(high, seeds_high)
    low, retained, high = share(low), share(mean), share(high)
    if high <= max_retained:
        verdict: Verdict = "pass"
        reason = f"retained {retained:.2f}, at most {max_retained:g} allowed"
    elif low > max_retained:
        verdict = "fail"
        reason = f"retained {retained:.2f}, only {max_retained:g} allowed"
    else:
        verdict = "inconclusive"
        reason = (
            f"retained {retained:.2f}, but its 95 % interval [{low:.2f}, {high:.2f}] straddles "
            f"{max_retained:g}; {n_test} test pictures and {len(protected)} training runs are too "
            "few to tell"
        )
    return Judgement(retained, low, high, verdict, reason)


def _no_comparison(reason: str) -> Judgement:
    return Judgement(None, None, None, "inconclusive", reason)


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst: one failed cell fails all, one inconclusive cell makes all so."""
    for verdict in ("fail", "inconclusive"):
        if verdict in verdicts:
            return verdict
    return "pass"

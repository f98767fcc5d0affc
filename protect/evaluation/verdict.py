"""From accuracies to a verdict: what share of the control's learning the protection let through."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from protect.manifest import Verdict

Z_95 = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""


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


def judge(
    protected: float, control: float, chance: float, n_test: int, max_retained: float
) -> Judgement:
    """Compare the peak accuracies of one cell.

    Args:
        protected: Peak clean-test accuracy after training on protected pictures, in [0, 1].
        control: The same after training on the originals.
        chance: Accuracy of always answering the most frequent test class.
        n_test: Test pictures.
        max_retained: The threshold, in [0, 1].
    """
    if not control_learned(control, chance):
        return Judgement(
            None,
            None,
            None,
            "inconclusive",
            f"the control learned too little to compare with ({control:.1%}, chance {chance:.1%})",
        )

    def share(accuracy: float) -> float:
        return max(0.0, (accuracy - chance) / (control - chance))

    low, high = map(share, wilson_interval(round(protected * n_test), n_test))
    retained = share(protected)
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
            f"{max_retained:g}; {n_test} test pictures are too few to tell"
        )
    return Judgement(retained, low, high, verdict, reason)


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst: one failed cell fails all, one inconclusive cell makes all so."""
    for verdict in ("fail", "inconclusive"):
        if verdict in verdicts:
            return verdict
    return "pass"

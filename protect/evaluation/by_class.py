"""From answers to what was learned of each class: an average may hide one that stays learnable."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean

from protect.documents.verify_report import ClassShare, Verdict
from protect.evaluation.learned import Answers
from protect.evaluation.verdict import (
    FEWEST_OF_A_CLASS,
    Estimate,
    Judgement,
    compared,
    of_pictures,
    overall,
    share_retained,
)

MOST_NAMES = 3
"""Classes named in a sentence; a report has all."""


def class_shares(
    labels: Iterable[str],
    protected: Sequence[Answers],
    control: Sequence[Answers],
    alone: Sequence[Answers],
    max_retained: float,
) -> tuple[ClassShare, ...]:
    """Compare what two trainings learned of each class that has test pictures.

    Args:
        labels: Names of the K classes.
        protected: Answers after training on protected pictures, one a seed.
        control: After training on the originals.
        alone: After training on what clean pictures a stranger has; empty if on none.
        max_retained: The threshold, in [0, 1].
    """
    shares = []
    for index, label in enumerate(labels):
        n_test = control[0].shown[index]
        if not n_test:
            continue
        got, full = informedness(protected, index), informedness(control, index)
        floor = max(0.0, informedness(alone, index).value) if alone else 0.0
        retained = low = high = None
        verdict: Verdict = "inconclusive"
        if full.low > floor:
            share = share_retained(got, full, floor)
            retained, low, high = share.value, share.low, share.high
            if n_test >= FEWEST_OF_A_CLASS:
                verdict = compared(low, high, max_retained)
        shares.append(
            ClassShare(
                label=label,
                n_test=n_test,
                learned=got.value,
                control_learned=full.value,
                floor=floor,
                retained=retained,
                retained_low=low,
                retained_high=high,
                verdict=verdict,
            )
        )
    return tuple(shares)


def by_class(judgement: Judgement, shares: Sequence[ClassShare], decides: bool) -> Judgement:
    """Say of a cell that passed which of its classes did not.

    Args:
        judgement: Of all classes together.
        shares: Of each.
        decides: Whether it is then no pass.
    """
    if judgement.verdict != "pass":
        return judgement
    worst = overall([share.verdict for share in shares])
    if worst == "fail":
        reason = f"{judgement.reason}, but of single classes more: {_named(shares, worst)}"
    elif worst == "inconclusive" and decides:
        reason = f"{judgement.reason}, but this cannot be told of: {_named(shares, worst)}"
    else:
        return judgement
    return replace(judgement, verdict=worst if decides else "pass", reason=reason)


def _named(shares: Sequence[ClassShare], verdict: Verdict) -> str:
    """Name the classes of a verdict, those first of which most was retained."""
    found = [share for share in shares if share.verdict == verdict]
    found.sort(key=lambda share: share.retained or 0.0, reverse=True)
    names = [
        share.label if share.retained is None else f"{share.label} {share.retained:.2f}"
        for share in found[:MOST_NAMES]
    ]
    more = [f"{len(found) - MOST_NAMES} more"] if len(found) > MOST_NAMES else []
    return ", ".join(names + more)


def informedness(answers: Sequence[Answers], index: int) -> Estimate:
    """Return by how much the name of a class is likelier for its own pictures than for others.

    Powers, "Evaluation: from precision, recall and F-measure to ROC, informedness, markedness and
    correlation", Journal of Machine Learning Technologies 2 (2011). Its interval is that of a
    difference of two proportions (Newcombe 1998, method 10), and with several seeds Student's too.

    Args:
        answers: One a seed, to the same pictures; at least one of the class and one of another.
        index: Of the class.
    """
    own = answers[0].shown[index]
    others = answers[0].n - own
    hits = [one.right[index] / own for one in answers]
    alarms = [(one.given[index] - one.right[index]) / others for one in answers]
    hit, alarm = of_pictures(fmean(hits), own), of_pictures(fmean(alarms), others)
    difference = hit.above(alarm.value).widened(alarm.high - alarm.value, alarm.value - alarm.low)
    return difference.over_seeds([mine - wrong for mine, wrong in zip(hits, alarms, strict=True)])

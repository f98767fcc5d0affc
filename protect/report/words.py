"""The words and figures that every rendering of a document shares, so that all say the same."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protect.documents.manifest import Extension
    from protect.documents.verify_report import (
        Cell,
        ClassShare,
        Quality,
        Verdict,
        VerifyReport,
    )

MARKS: dict[Verdict, str] = {"pass": "✓", "fail": "✗", "inconclusive": "?"}
"""A sign beside each verdict: colour is never the only carrier."""

MOST_CLASSES = 3
"""Classes named in a line; the document has all."""


def visible(text: str) -> str:
    r"""Make text of unknown origin harmless to a terminal, to XML and to the order of a page.

    Control characters, line breaks, text-direction overrides and lone surrogates become their
    Python escapes, such as `\u202e`.
    """
    return "".join(char if char.isprintable() else escaped(char) for char in text)


def escaped(char: str) -> str:
    """Spell a character as Python does."""
    return char.encode("unicode_escape", "backslashreplace").decode()


def cell_name(cell: Cell) -> str:
    """Name a cell by what was trained, how, and under which attack."""
    return f"{cell.backbone} / {cell.mode} / {cell.attack}"


def duration(seconds: float) -> str:
    """Write how long something takes, such as "8 min 20 s", to about a hundredth."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def megabytes(n_bytes: int) -> str:
    """Write a size in MB, or in kB or GB where that is shorter."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if n_bytes >= unit:
            return f"{n_bytes / unit:.1f} {name}"
    return f"{n_bytes / 1e3:.1f} kB"


def percent(share: float) -> str:
    """Write an accuracy."""
    return f"{share:.1%}"


def retained(cell: Cell | ClassShare) -> str:
    """Write the retained share with its interval; a dash where the control did not learn."""
    if cell.retained is None:
        return "-"
    return f"{cell.retained:.2f} [{cell.retained_low:.2f}, {cell.retained_high:.2f}]"


def most_first(classes: Iterable[ClassShare]) -> list[ClassShare]:
    """Sort classes by how much was retained of them; those come last of which it is not known."""
    return sorted(
        classes, key=lambda share: -1 if share.retained is None else share.retained, reverse=True
    )


def classes_line(cell: Cell) -> str:
    """Name the classes of a cell of which most was retained."""
    named = [
        f"{share.label} {retained(share)}" for share in most_first(cell.classes)[:MOST_CLASSES]
    ]
    others = len(cell.classes) - len(named)
    return ", ".join([*named, f"{others} more"] if others else named)


def tally(report: VerifyReport) -> str:
    """Count the cells by verdict, such as "9 pass, 1 fail"."""
    counts = Counter(cell.verdict for cell in report.cells)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in MARKS if counts[verdict])


def what_changed(extension: Extension) -> str:
    """Count the pictures of an extension, such as "2 added, 1 removed, 24 kept"."""
    kinds = ("added", "changed", "restored", "removed")
    counts = [f"{number} {kind}" for kind in kinds if (number := getattr(extension, kind))]
    return ", ".join([*counts, f"{extension.kept} kept"])


def headline(report: VerifyReport) -> str:
    """Write the verdict; of a shard, never as if it were that of the whole."""
    return f"{report.verdict} (shard {report.shard} only)" if report.shard else report.verdict


def outcome(report: VerifyReport) -> str:
    """Say in a sentence what the verdict rests on; of a shard also how to get that of the whole."""
    sentence = _ground(report)
    if report.shard is None:
        return sentence
    return (
        f"{sentence} Only the cells of shard {report.shard} were judged; "
        "protect verify --merge judges all."
    )


def _ground(report: VerifyReport) -> str:
    counts = Counter(cell.verdict for cell in report.cells)
    n, limit = len(report.cells), f"{report.max_retained:g}"
    if report.verdict == "pass":
        who = "The only cell passed" if n == 1 else f"All {n} cells passed"
        sentence = f"{who}: no network kept more than {limit} of what its control learned"
        if report.every_class:
            return f"{sentence}, nor of any class."
        classes = [share for cell in report.cells for share in cell.classes]
        kept = {share.label for share in classes if share.verdict == "fail"}
        if not kept:
            return f"{sentence}."
        labels = {share.label for share in classes}
        return f"{sentence}. That is an average: of {len(kept)} of {len(labels)} classes one did."
    if report.verdict == "fail":
        return (
            f"{counts['fail']} of {n} failed: a network kept more than {limit} of what its "
            "control learned."
        )
    return (
        f"{counts['inconclusive']} of {n} could not be told: there was no sound comparison, or the "
        f"interval straddles the threshold of {limit}. That is not a pass."
    )


def similarity(quality: Quality) -> str:
    """Write how alike the pictures are, as far as it was measured."""
    parts = []
    if quality.psnr_mean is not None:
        parts.append(f"PSNR {quality.psnr_mean:.1f} dB (worst {quality.psnr_worst:.1f})")
    if quality.ssim_mean is not None:
        parts.append(f"SSIM {quality.ssim_mean:.3f} (worst {quality.ssim_worst:.3f})")
    return ", ".join(parts) or "-"


def quality_line(quality: Quality) -> str:
    """Say how visible the noise is, and whether the budget was kept."""
    return f"{similarity(quality)}; {budget_line(quality)}; {quality.n} pictures compared"


def budget_line(quality: Quality) -> str:
    """Compare the largest change with the promise, or say that there was none."""
    change = f"largest change {quality.linf_levels} levels of 255"
    if quality.promised_levels is None:
        return f"{change}, no budget was promised"
    if quality.linf_levels > quality.promised_levels:
        return f"{change}, MORE than the promised {quality.promised_levels}"
    return f"{change}, within the promised {quality.promised_levels}"

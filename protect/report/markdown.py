"""A verification as Markdown, for the summary page of a GitHub job."""

from collections.abc import Sequence

from protect.documents.verify_report import Cell, VerifyReport
from protect.report.words import (
    MARKS,
    cell_name,
    classes_line,
    headline,
    outcome,
    percent,
    quality_line,
    retained,
    tally,
    visible,
)

_COLUMNS = {
    "Backbone": ":--",
    "Training": ":--",
    "Attack": ":--",
    "Control peak": "--:",
    "Final": "--:",
    "Peak": "--:",
    "Floor": "--:",
    "Retained [95 %]": "--:",
    "Seeds": "--:",
    "Verdict": ":--",
}
# A character reference is never read as markup (CommonMark 0.31, section 6.2), so it also keeps a
# table cell whole, which a backslash does not in every parser. "/" and "@": no links, no mentions.
_REFERENCES = {ord(char): f"&#{ord(char)};" for char in r"\`*_[]<>&|~#!$@/"}


def markdown_summary(report: VerifyReport) -> str:
    """Write the verdict, the threshold, a table of cells and what was not run."""
    worst = report.cells[report.worst]
    blocks = [
        f"## protect verify: {MARKS[report.verdict]} {escaped(headline(report))}",
        escaped(outcome(report)),
        f"**Worst cell:** {escaped(cell_name(worst))}: {escaped(worst.reason)}",
        f"**Its classes:** {escaped(classes_line(worst))}",
        "\n".join(
            [
                _row(list(_COLUMNS)),
                _row(list(_COLUMNS.values())),
                *(_row(_figures(cell)) for cell in report.cells),
            ]
        ),
        _list(
            [
                f"Threshold: at most {report.max_retained:g} retained",
                f"Cells: {tally(report)} (tier {report.tier})",
                f"{report.split.n_train} pictures trained, {report.split.n_test} clean pictures "
                f"tested ({report.split.kind})",
                quality_line(report.quality),
                *(f"Note: {note}" for note in report.notes),
            ]
        ),
    ]
    undecided = [cell for cell in report.cells if cell.verdict != "pass"]
    if undecided:
        blocks += [
            "### Why not passed",
            _list([f"{cell_name(cell)}: {cell.verdict}, {cell.reason}" for cell in undecided]),
        ]
    if report.not_run:
        blocks += ["### Not run", _list(report.not_run)]
    return "\n\n".join(blocks) + "\n"


def escaped(text: str) -> str:
    """Make text of unknown origin plain: no markup, no HTML, no line break, no cell border."""
    return visible(text).translate(_REFERENCES)


def _figures(cell: Cell) -> list[str]:
    return [
        escaped(cell.backbone),
        escaped(cell.mode),
        escaped(cell.attack),
        percent(cell.control_peak),
        percent(cell.final),
        percent(cell.peak),
        percent(cell.floor),
        retained(cell),
        str(len(cell.seeds)),
        f"{MARKS[cell.verdict]} {cell.verdict}",
    ]


def _row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {escaped(item)}" for item in items)

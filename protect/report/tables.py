"""Documents as terminal tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from protect.report.words import (
    cell_name,
    classes_line,
    headline,
    outcome,
    percent,
    quality_line,
    retained,
    similarity,
    tally,
    visible,
    what_changed,
)

if TYPE_CHECKING:
    from protect.documents.backbone_list import BackboneList
    from protect.documents.check_report import CheckReport
    from protect.documents.manifest import Manifest
    from protect.documents.preview_report import PreviewReport
    from protect.documents.shard_report import ShardReport
    from protect.documents.verify_report import VerifyReport

MOST_PLACES = 3
"""Networks up to which it is shown where their weights were looked for."""
MOST_LINES = 20
"""Of a list of files on the terminal; the document has all of them."""

_VERDICT_STYLE = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow"}


def printable(text: str) -> Text:
    """Make text of unknown origin harmless: no markup, no control characters or surrogates."""
    return Text(visible(text))


def some_of(lines: Sequence[str], where: str) -> Sequence[str]:
    """Return the first lines, how many more there are, and where to find them."""
    if len(lines) <= MOST_LINES:
        return lines
    return [*lines[:MOST_LINES], f"… and {len(lines) - MOST_LINES} more; {where}"]


def run_summary(manifest: Manifest) -> RenderableType:
    """What a run did, in a few lines."""
    from protect.documents.verify_report import Quality

    table = facts()
    images = manifest.images
    quality = Quality.of(images, manifest.eps.levels)
    unchanged = sum(image.status == "unchanged" for image in images)
    table.add_row("pictures", f"{len(images)} in {len(manifest.classes)} classes")
    table.add_row(
        "budget",
        f"{manifest.eps.levels} levels of 255 (--eps {manifest.eps.text}); largest change on disk "
        f"{quality.linf_levels}",
    )
    table.add_row("quality", similarity(quality))
    table.add_row(
        "binding", f"{manifest.bound[-1]:.0%} of the last pictures taken for incorrect classes"
    )
    table.add_row("surrogate", f"{manifest.surrogate.name} at {manifest.surrogate.input_size} px")
    timing = manifest.timing
    table.add_row(
        "time",
        f"{timing.read:.1f} s reading, {timing.optimise:.1f} s optimising, "
        f"{timing.write:.1f} s writing",
    )
    for extension in manifest.extended:
        table.add_row("extended", what_changed(extension))
    if manifest.refused:
        table.add_row(Text("left out", style="bold red"), f"{len(manifest.refused)} pictures")
    if unchanged:
        table.add_row(
            Text("unchanged", style="bold red"),
            f"{unchanged} pictures show no noise: not one pixel differs",
        )
    refused = [str(item) for item in manifest.refused]
    lines = some_of(refused, "the manifest has all")
    return Group(table, *(printable(line) for line in lines))


def backbones_summary(found: BackboneList) -> RenderableType:
    """A row per network; the places too, where they are few."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("backbone", "input", "weights"):
        table.add_column(name, overflow="fold")
    for entry in found.entries:
        here = f"{entry.origin}: {entry.file}, {entry.megabytes} MB"
        table.add_row(
            printable(entry.name),
            f"{entry.input_size} px",
            printable(here) if entry.origin else Text("not on this machine", style="dim"),
        )
    lines = []
    if len(found.entries) <= MOST_PLACES:
        lines = [
            f"{entry.name}: {place}"
            for entry in found.entries
            if entry.origin is None
            for place in entry.places
        ]
    if not found.pattern:
        lines = [f"{found.known} networks are known; `protect backbones PART-OF-NAME` lists them"]
    return Group(table, Text(""), *(printable(line) for line in lines))


def check_summary(report: CheckReport) -> RenderableType:
    """What a check found, one line a problem."""
    verdict = (
        Text("intact", style="bold green") if report.ok else Text("NOT intact", style="bold red")
    )
    table = facts()
    table.add_row("folder", verdict)
    table.add_row("pictures", str(report.n_images))
    table.add_row(
        "budget",
        f"{report.budget_levels} levels; "
        + (
            f"largest change on disk {report.measured_levels}"
            if report.measured_levels is not None
            else "not measured"
        ),
    )
    lines = [f"{item.kind}: {item.file}: {item.message}" for item in report.problems]
    lines += [f"note: {note}" for note in report.notes]
    return Group(table, *(printable(line) for line in some_of(lines, "--json has all")))


def preview_summary(report: PreviewReport, sheet: Path) -> RenderableType:
    """A row per pair of a contact sheet, what it does not show, and where it lies."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("class", "picture"):
        table.add_column(name, overflow="fold")
    for name in ("PSNR", "largest change"):
        table.add_column(name, justify="right")
    for pair in report.pairs:
        psnr = "unchanged" if pair.psnr is None else f"{pair.psnr:.1f} dB"
        table.add_row(printable(pair.label), printable(pair.output), psnr, str(pair.linf_levels))
    notes = (printable(f"note: {note}") for note in report.notes)
    return Group(table, *notes, printable(f"wrote {sheet}"))


def verify_summary(report: VerifyReport) -> RenderableType:
    """A row per cell, then the verdict and what was not tried."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("backbone", "training", "attack"):
        table.add_column(name, overflow="fold")
    for name in ("control", "final", "peak", "floor", "retained [95 %]", "seeds"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("verdict", overflow="fold")
    for cell in report.cells:
        table.add_row(
            printable(cell.backbone),
            printable(cell.mode),
            printable(cell.attack),
            percent(cell.control_peak),
            percent(cell.final),
            percent(cell.peak),
            percent(cell.floor),
            Text(retained(cell)),
            str(len(cell.seeds)),
            Text(cell.verdict, style=_VERDICT_STYLE[cell.verdict]),
        )
    worst = report.cells[report.worst]
    split = report.split
    return Group(
        table,
        Text(""),
        Text.assemble(
            "verdict: ",
            (headline(report), _VERDICT_STYLE[report.verdict]),
            f" - {outcome(report)}",
        ),
        printable(f"worst cell: {cell_name(worst)}: {worst.reason}"),
        printable(f"its classes: {classes_line(worst)}"),
        printable(f"tier {report.tier}; cells: {tally(report)}"),
        Text(f"quality: {quality_line(report.quality)}"),
        Text(
            f"{split.n_train} pictures trained, {split.n_test} clean pictures tested "
            f"({split.kind}); accuracies are of the clean test pictures, means over the seeds"
        ),
        *(printable(f"note: {note}") for note in report.notes),
        *(Text(f"not run: {visible(item)}", style="dim") for item in report.not_run),
    )


def shards_summary(packed: ShardReport) -> RenderableType:
    """What went into tar shards, and what was left out."""
    lines = [f"{packed.n_pictures} pictures"]
    lines += [
        f"{count} {name or 'other members'} as they were" for name, count in packed.carried.items()
    ]
    missing = [f"left out, not protected: {name}" for name in packed.left_out]
    lines += some_of(missing, "the manifest says why")
    return Group(*map(printable, lines))


def facts() -> Table:
    """Return an empty table of a bold name and what there is to say of it."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    return table

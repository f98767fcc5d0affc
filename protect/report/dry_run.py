"""What a dry run found, for people."""

from rich.console import Group, RenderableType
from rich.text import Text

from protect.documents.dry_run import DryRun, Duration, Room
from protect.report.tables import facts, printable, some_of
from protect.report.words import duration, megabytes

_ANSWERS = {
    "complete": ("run would protect every picture", "bold green"),
    "incomplete": ("run would leave pictures out, and exit with 1", "bold yellow"),
    "refused": ("run would refuse", "bold red"),
}


def dry_run_summary(found: DryRun) -> RenderableType:
    """What a run would do, in a few lines; then every picture that it would leave out."""
    table = facts()
    answer, style = _ANSWERS[found.outcome]
    table.add_row("answer", Text(answer, style=style))
    n = sum(found.classes.values())
    table.add_row("pictures", f"{n} in {len(found.classes)} classes, each decoded in full to see")
    per_class = [f"{name}: {count}" for name, count in found.classes.items()]
    table.add_row("classes", printable(", ".join(some_of(per_class, "--json has all"))))
    if found.refused:
        table.add_row(Text("left out", style="bold red"), f"{len(found.refused)} pictures")
    if found.ignored:
        ignored = ", ".join(f"{count} {kind}" for kind, count in found.ignored.items())
        table.add_row("passed over", printable(ignored))
    eps = found.eps
    table.add_row("budget", f"{eps.levels} levels of 255 (--eps {eps.text})")
    if found.surrogate:
        size = found.surrogate.input_size
        table.add_row("surrogate", printable(f"{found.surrogate.name} at {size} px"))
    if found.duration:
        table.add_row("time", printable(_time(found.duration)))
    if found.room:
        table.add_row("disk", _disk(found.room))
        table.add_row("memory", _memory(found.room))
    lines = [*some_of([str(item) for item in found.refused], "--json has all")]
    if found.problem:
        lines += [found.problem, f"hint: {found.hint}"]
    return Group(table, *(printable(line) for line in lines), Text("nothing was written"))


def _time(needed: Duration) -> str:
    ends = f"{duration(needed.read)} reading, {duration(needed.write)} writing"
    if needed.optimise is None:
        return f"{ends}; optimising not timed: {needed.not_timed}"
    whole = duration(needed.read + needed.optimise + needed.write)
    rounds = f"{needed.rounds} rounds, {needed.timed_rounds} timed here"
    how = f"optimising ({rounds})" if needed.rounds else "choosing textures"
    return f"about {whole}: {ends}, {duration(needed.optimise)} {how}"


def _disk(needed: Room) -> str:
    growth = f" ({needed.output / needed.source:.1f} times the originals)" if needed.source else ""
    short = needed.free < needed.output + needed.cache
    return (
        f"about {megabytes(needed.output)} of PNGs{growth}, and {megabytes(needed.cache)} of "
        f"decoded pictures until it is over; {'ONLY ' if short else ''}{megabytes(needed.free)} "
        "are free"
    )


def _memory(needed: Room) -> str:
    parts = []
    if needed.memory is not None:
        parts.append(f"{megabytes(needed.memory)} at most so far, whatever the number of pictures")
    if needed.device_memory is not None:
        parts.append(f"{megabytes(needed.device_memory)} on the GPU")
    return "; ".join(parts) or "not known on this system"

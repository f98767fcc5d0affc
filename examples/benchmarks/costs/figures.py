"""What was measured, as a document and as tables; measures nothing itself."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict
from rich.table import Table

from protect.documents.document import Tool

COLUMNS = ("what", "unit", "ours", "compared with", "ratio", "goal")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Spread(_Frozen):
    """Several measurements of one thing.

    Attributes:
        n: How many.
        median: Of them.
        low: The smallest.
        high: The largest.
    """

    n: int
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Summarise one measurement or more."""
        return cls(n=len(values), median=median(values), low=min(values), high=max(values))

    def __str__(self) -> str:
        middle = _short(self.median)
        if self.n == 1:
            return middle
        return f"{middle} ({_short(self.low)}-{_short(self.high)}, n={self.n})"


class Goal(_Frozen):
    """The largest value that was aimed at, of the ratio or of our own measurement."""

    of: Literal["ratio", "ours"]
    at_most: float


class Comparison(_Frozen):
    """One row: this tool, and what it is compared with, measured in the same minutes.

    Attributes:
        part: Which part of the benchmark it belongs to.
        what: What was done.
        unit: Of `ours` and `other`.
        ours: This tool.
        other_name: What it is compared with; empty where with nothing.
        other: The same of that; None without one.
        ratio: `ours / other`, of each pair of measurements; None without one.
        goal: What was aimed at; None where nothing was.
    """

    part: str
    what: str
    unit: str
    ours: Spread
    other_name: str = ""
    other: Spread | None = None
    ratio: Spread | None = None
    goal: Goal | None = None

    @classmethod
    def of_pairs(
        cls,
        part: str,
        what: str,
        unit: str,
        pairs: Sequence[tuple[float, float]],
        other_name: str,
        at_most: float | None = None,
    ) -> Self:
        """Compare (ours, other) pairs, each measured one right after the other."""
        ours, others = zip(*pairs, strict=True)
        return cls(
            part=part,
            what=what,
            unit=unit,
            ours=Spread.of(ours),
            other_name=other_name,
            other=Spread.of(others),
            ratio=Spread.of([mine / other for mine, other in pairs]),
            goal=None if at_most is None else Goal(of="ratio", at_most=at_most),
        )

    @property
    def verdict(self) -> str:
        """The goal, and whether the median reached it; empty without one."""
        if self.goal is None:
            return ""
        reached = self.ratio if self.goal.of == "ratio" else self.ours
        assert reached is not None, "a goal for a ratio needs something to compare with"
        words = "met" if reached.median <= self.goal.at_most else "MISSED"
        unit = "x" if self.goal.of == "ratio" else f" {self.unit}"
        return f"at most {self.goal.at_most:g}{unit}: {words}"

    def cells(self) -> tuple[str, ...]:
        """Return what stands below each of `COLUMNS`."""
        other = f"{self.other} {self.other_name}" if self.other else ""
        return (
            self.what,
            self.unit,
            str(self.ours),
            other,
            str(self.ratio or ""),
            self.verdict,
        )


class Measurements(_Frozen):
    """Everything of one call.

    Attributes:
        tool: What computed it.
        cpus: That this process may use.
        threads: Of PyTorch in one operation.
        load_before: Processes that wanted a CPU in the minute before; far above 0 means that wall
            times are not to be trusted.
        load_after: The same at the end, with what this benchmark itself wanted.
        quick: Whether everything was tiny, so that the figures mean nothing.
        comparisons: The rows.
    """

    tool: Tool
    cpus: int
    threads: int
    load_before: float
    load_after: float
    quick: bool
    comparisons: tuple[Comparison, ...]

    @property
    def circumstances(self) -> str:
        """What a reader must know of the machine."""
        words = (
            f"On {self.tool.device}, {self.cpus} CPUs, {self.threads} threads of PyTorch; "
            f"load {self.load_before:.1f} before and {self.load_after:.1f} after; "
            f"median (smallest-largest, n)"
        )
        return f"{words}; --quick: the figures mean nothing" if self.quick else words

    def table(self) -> Table:
        """Return a table for the terminal."""
        table = Table(box=None, pad_edge=False, header_style="bold", caption=self.circumstances)
        for name in COLUMNS:
            table.add_column(name, overflow="fold")
        part = ""
        for row in self.comparisons:
            if part and row.part != part:
                table.add_section()
            part = row.part
            table.add_row(*row.cells())
        return table

    def markdown(self) -> str:
        """Return a Markdown table for each part, below a line about the machine."""
        blocks = [f"{self.circumstances}."]
        for part in dict.fromkeys(row.part for row in self.comparisons):
            rows = [row.cells() for row in self.comparisons if row.part == part]
            lines = [COLUMNS, ("---",) * len(COLUMNS), *rows]
            blocks.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        return "\n\n".join(blocks) + "\n"


def _short(value: float) -> str:
    """Write three significant digits, without an exponent."""
    if not value:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"

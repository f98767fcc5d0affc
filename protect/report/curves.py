"""Where the accuracy curves of a cell lie in a drawing; the page turns it into SVG."""

from collections.abc import Iterable
from dataclasses import dataclass

from protect.documents.verify_report import Cell
from protect.report.words import percent

WIDTH, HEIGHT = 320, 176
LEFT, RIGHT, TOP, BOTTOM = 40.0, 206.0, 10.0, 146.0
"""Edges of the plot; the names of the lines are to its right, the epochs below."""
LINE_HEIGHT = 14.0


@dataclass(frozen=True, slots=True)
class Line:
    """Accuracies of one seed as points of a polyline.

    Attributes:
        points: "x,y x,y …".
        x: Of its last point.
        y: Of its last point.
    """

    points: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """The curves of a cell.

    Attributes:
        control: Training on the originals, a line per seed.
        protected: Training on the protected pictures, a line per seed.
        control_label: Height of the name of the control's lines.
        protected_label: Height of the name of the others.
        chance: Height of the chance level.
        ticks: Accuracy in words and height of each grid line.
        epochs: Passes drawn.
        description: The curves in words.
    """

    control: tuple[Line, ...]
    protected: tuple[Line, ...]
    control_label: float
    protected_label: float
    chance: float
    ticks: tuple[tuple[str, float], ...]
    epochs: int
    description: str


def draw_curves(cell: Cell) -> Drawing:
    """Lay out the curves of every seed of a cell."""
    epochs = max((len(line) for c in cell.curves for line in (c.control, c.protected)), default=0)
    control_label, protected_label = _labels(_y(cell.control_final), _y(cell.final))
    return Drawing(
        control=_lines((curve.control for curve in cell.curves), epochs),
        protected=_lines((curve.protected for curve in cell.curves), epochs),
        control_label=control_label,
        protected_label=protected_label,
        chance=_y(cell.chance),
        ticks=tuple((f"{share:.0%}", _y(share)) for share in (0.0, 0.5, 1.0)),
        epochs=epochs,
        description=(
            f"Accuracy on clean test pictures over {epochs} epochs, seeds "
            f"{', '.join(map(str, cell.seeds))}. Trained on the originals it ends at "
            f"{percent(cell.control_final)} (highest {percent(cell.control_peak)}), on the "
            f"protected pictures at {percent(cell.final)} (highest {percent(cell.peak)}); chance "
            f"is {percent(cell.chance)}."
        ),
    )


def _lines(curves: Iterable[tuple[float, ...]], epochs: int) -> tuple[Line, ...]:
    lines = []
    for curve in curves:
        points = [(_x(i, epochs), _y(share)) for i, share in enumerate(curve)]
        if points:
            lines.append(Line(" ".join(f"{x:.1f},{y:.1f}" for x, y in points), *points[-1]))
    return tuple(lines)


def _x(epoch: int, epochs: int) -> float:
    """Place an epoch, counted from 0; a single one stands at the right, beside its name."""
    return RIGHT if epochs < 2 else round(LEFT + (RIGHT - LEFT) * epoch / (epochs - 1), 1)


def _y(share: float) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * share, 1)


def _labels(first: float, second: float) -> tuple[float, float]:
    """Keep two names a line apart and inside the plot, in the order of their lines."""
    upper, lower = sorted((first, second))
    push = max(0.0, LINE_HEIGHT - (lower - upper)) / 2
    upper = max(TOP, min(upper - push, BOTTOM - LINE_HEIGHT))
    lower = max(min(lower + push, BOTTOM), upper + LINE_HEIGHT)
    return (upper, lower) if first <= second else (lower, upper)

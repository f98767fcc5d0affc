"""The table: as JSON with every figure, as Markdown and on a terminal with the two that matter."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from protect.documents.document import SCHEMA_VERSION, Document, Tool
from protect.documents.verify_report import Cell, Quality
from protect.report.words import percent, similarity
from protect.system.files import write_atomically

DASH = "-"
CONTROL = "originals (control)"


class Pictures(Document):
    """What was learned.

    Attributes:
        name: Of the yardstick.
        tuning: Whether the test pictures are those to make choices by; such figures are no result.
        n_train: Training pictures.
        n_test: Test pictures.
        classes: K.
        chance: Accuracy of always answering the most frequent test class.
    """

    name: str
    tuning: bool
    n_train: int
    n_test: int
    classes: int
    chance: float


class Entry(Document):
    """A method, and how its pictures look.

    Attributes:
        name: As it is typed.
        title: As it is shown.
        source: Where it comes from, and what is different here.
        settings: Of the method.
        seconds: Wall clock of making its pictures.
        quality: How far they are from the originals, measured on the files by `protect verify`.
    """

    name: str
    title: str
    source: str
    settings: dict[str, Any]
    seconds: float
    quality: Quality


class Row(Document):
    """A cell of `protect verify`, with the names of this table.

    Attributes:
        method: Name of the method.
        victim: Name of the victim.
        attack: Name of the attack, or of the training mode that is one.
        cell: What `protect verify` found.
    """

    method: str
    victim: str
    attack: str
    cell: Cell


class Results(Document):
    """Everything that was measured.

    Attributes:
        schema_version: Version of this layout.
        pictures: What was learned.
        eps: The budget as it was typed.
        seed: Of the noise and of the first training.
        finished: Whether every cell was run; a table that is still growing says so.
        methods: In the order of the table.
        rows: One for each method, victim and attack.
        left_out: Pairs of victim and attack that cannot be run, with the reason.
        environment: What computed it.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    pictures: Pictures
    eps: str
    seed: int
    finished: bool
    methods: tuple[Entry, ...]
    rows: tuple[Row, ...]
    left_out: tuple[str, ...] = ()
    environment: Tool

    def write(self, path: Path) -> None:
        """Write PATH.json and PATH.md, each whole or not at all."""
        write_atomically(path.with_suffix(".json"), self.model_dump_json(indent=1).encode() + b"\n")
        write_atomically(path.with_suffix(".md"), markdown(self).encode())

    def of_victim(self, victim: str) -> Self:
        """Return the rows of one victim only."""
        rows = tuple(row for row in self.rows if row.victim == victim)
        return self.model_copy(update={"rows": rows})


def grid(results: Results) -> list[list[str]]:
    """Return the table of the rows, which are of one victim: a header, the control, the methods.

    Each figure is the peak over the epochs, and after a stroke that after the last one.
    """
    attacks = _distinct([row.attack for row in results.rows])
    cells = {(row.method, row.attack): row.cell for row in results.rows}
    controls = {row.attack: row.cell for row in results.rows}
    header = ["method", *(_attack_name(attack, controls[attack]) for attack in attacks)]
    control = [CONTROL]
    for attack in attacks:
        cell = controls[attack]
        control.append(_both(cell.control_peak, cell.control_final))
    lines = [header, control]
    for method in results.methods:
        found = [cells.get((method.name, attack)) for attack in attacks]
        figures = [DASH if cell is None else _both(cell.peak, cell.final) for cell in found]
        lines.append([method.title, *figures])
    return lines


def quality_grid(results: Results) -> list[list[str]]:
    """Return the table of how visible each method is and how long it takes."""
    lines = [["method", "largest change", "likeness", "seconds"]]
    for method in results.methods:
        levels = f"{method.quality.linf_levels} levels"
        likeness = similarity(method.quality)
        lines.append([method.title, levels, likeness, f"{method.seconds:.0f}"])
    return lines


def caption(results: Results) -> str:
    """Say in a sentence what the figures are of."""
    pictures = results.pictures
    kind = "TUNING pictures, no result" if pictures.tuning else "test pictures"
    state = "" if results.finished else " NOT FINISHED."
    return (
        f"Accuracy on {pictures.n_test} clean {kind} of {pictures.name}, {pictures.classes} "
        f"classes, chance {percent(pictures.chance)}, after training on {pictures.n_train}; budget "
        f"{results.eps}. Peak over the epochs / after the last one; lower is better protection, "
        f"and the control is what there was to learn.{state}"
    )


def markdown(results: Results) -> str:
    """Write everything that a reader of the tables needs."""
    blocks = [caption(results)]
    for victim in _distinct([row.victim for row in results.rows]):
        blocks += [
            f"### {_title(results, victim)}",
            _markdown_table(grid(results.of_victim(victim))),
        ]
    blocks += ["### Likeness and cost", _markdown_table(quality_grid(results))]
    blocks += ["\n".join(f"- Not run: {line}" for line in results.left_out)]
    tool = results.environment
    packages = ", ".join(f"{name} {version}" for name, version in tool.packages.items())
    blocks.append(f"Computed on {tool.device}, {tool.platform}, Python {tool.python}; {packages}.")
    return "\n\n".join(block for block in blocks if block) + "\n"


def screen(results: Results) -> RenderableType:
    """Draw the tables for a terminal."""
    victims = _distinct([row.victim for row in results.rows])
    tables = [
        _rich_table(grid(results.of_victim(victim)), _title(results, victim)) for victim in victims
    ]
    likeness = _rich_table(quality_grid(results), "Likeness and cost")
    return Group(Text(caption(results)), *tables, likeness)


def _title(results: Results, victim: str) -> str:
    cell = next(row.cell for row in results.rows if row.victim == victim)
    return f"{victim}: {cell.backbone} at {cell.network.input_size} px"


def _attack_name(attack: str, cell: Cell) -> str:
    return attack if len(cell.seeds) == 1 else f"{attack} (mean of {len(cell.seeds)})"


def _both(peak: float, final: float) -> str:
    return f"{peak * 100:.1f} / {final * 100:.1f}"


def _distinct(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _markdown_table(lines: Sequence[Sequence[str]]) -> str:
    header, *body = lines
    rule = [":--", *(["--:"] * (len(header) - 1))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *body))


def _rich_table(lines: Sequence[Sequence[str]], title: str) -> Table:
    header, *body = lines
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i else "left")
    for line in body:
        table.add_row(*line)
    return table

"""A verification as one self-contained page: no script, no request, nothing to install.

The layout is in `page.html.j2`, the looks are in `page.css`. Every string of a document goes
through `visible` and through Jinja's escaping, whatever the template does.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from protect.documents.document import Network
from protect.documents.verify_report import Cell, ClassShare, Training, VerifyReport
from protect.report import curves, words
from protect.report.examples import Example

MOST_FILES = 200
"""Of the held-out pictures listed on the page; the JSON report has them all."""


MOST_CLASSES = 50
"""Of the classes, those first of which most was retained; the JSON report has them all."""


@dataclass(frozen=True, slots=True)
class Group:
    """The cells of one backbone and training mode.

    Attributes:
        backbone: Qualified name.
        mode: Training mode.
        cells: In the order of the report.
    """

    backbone: str
    mode: str
    cells: tuple[Cell, ...]

    def under(self, attack: str) -> Cell | None:
        """Return the cell of an attack; None where it was not run here."""
        return next((cell for cell in self.cells if cell.attack == attack), None)


def html_page(report: VerifyReport, examples: Sequence[Example] = ()) -> str:
    """Draw a report as a page.

    Args:
        report: The result of a verification.
        examples: Pictures to show before and after.
    """
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            worst=report.cells[report.worst],
            groups=_groups(report.cells),
            attacks=list(dict.fromkeys(cell.attack for cell in report.cells)),
            recipes=_recipes(report.cells),
            classes=_by_class(report.cells),
            most_classes=MOST_CLASSES,
            networks=_networks(report.cells),
            examples=examples,
            most_files=MOST_FILES,
        )
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("protect.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters.update(
        base64=lambda data: base64.b64encode(data).decode(),
        percent=words.percent,
        pieces=_pieces,
    )
    environment.globals.update(
        marks=words.MARKS,
        headline=words.headline,
        outcome=words.outcome,
        tally=words.tally,
        retained=words.retained,
        cell_name=words.cell_name,
        budget_line=words.budget_line,
        draw_curves=curves.draw_curves,
        plot=curves,
    )
    return environment


def _finalize(value: object) -> object:
    """Make whatever is inserted harmless; markup made by the template itself stays as it is."""
    return words.visible(value) if type(value) is str else value


def _pieces(name: str) -> Iterator[str]:
    """Cut a long name where a line may break: after its separators."""
    return (match[0] for match in re.finditer(r"[^:_/.\-]*[:_/.\-]|[^:_/.\-]+", name))


def _groups(cells: Sequence[Cell]) -> list[Group]:
    grouped: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        grouped.setdefault((cell.backbone, cell.mode), []).append(cell)
    return [Group(*key, tuple(members)) for key, members in grouped.items()]


def _by_class(cells: Sequence[Cell]) -> list[tuple[str, list[ClassShare]]]:
    """Return each class with its share in every cell, those first of which most was retained."""
    found: dict[str, list[ClassShare]] = {}
    for cell in cells:
        for share in cell.classes:
            found.setdefault(share.label, []).append(share)
    order = words.most_first(words.most_first(shares)[0] for shares in found.values())
    return [(share.label, found[share.label]) for share in order]


def _recipes(cells: Sequence[Cell]) -> list[tuple[str, Training, list[str]]]:
    """Return each mode and recipe that was used, with the backbones that it trained."""
    used: dict[tuple[str, Training], list[str]] = {}
    for cell in cells:
        backbones = used.setdefault((cell.mode, cell.training), [])
        if cell.backbone not in backbones:
            backbones.append(cell.backbone)
    return [(mode, training, backbones) for (mode, training), backbones in used.items()]


def _networks(cells: Sequence[Cell]) -> list[Network]:
    return list(dict.fromkeys(cell.network for cell in cells))

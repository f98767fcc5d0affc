"""The report of an integrity check."""

from typing import Literal

from protect.documents.document import SCHEMA_VERSION, Document

ProblemKind = Literal[
    "missing", "extra", "changed", "unreadable", "budget", "size", "label", "original", "count"
]


class Problem(Document):
    """Something that `protect check` found.

    Attributes:
        file: Path below the protected folder, or of the original where that is at fault.
        kind: Short stable name of the kind of problem.
        message: What is wrong, in words.
    """

    file: str
    kind: ProblemKind
    message: str


class CheckReport(Document):
    """Result of an integrity check.

    Attributes:
        schema_version: Version of this layout.
        ok: True if there are no problems.
        n_images: Published pictures in the manifest.
        budget_levels: The promised largest change, in 8-bit levels.
        measured_levels: The largest change found against the originals; None without them.
        problems: Everything found.
        notes: What could not be checked, and why.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    ok: bool
    n_images: int
    budget_levels: int
    measured_levels: int | None
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()

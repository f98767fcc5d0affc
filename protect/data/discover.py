"""A folder to its labelled samples: which files are pictures, what each is called, its class.

Owns the stable order, and the promise that no file is passed over in silence: it is a sample, or
refused with a reason, or counted by kind. Never opens a picture.
"""

import shlex
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from protect.data.labels import FILE_COLUMN, LABEL_COLUMN, LabelTable
from protect.data.walk import Walk, printable_name, some_names
from protect.documents.manifest import Labels, Refused
from protect.errors import InputError
from protect.events import Listener, Notice

_METADATA_TABLES = ("metadata.csv", "metadata.jsonl")
_METADATA_PARQUET = "metadata.parquet"
_SPLITS = frozenset({
    "train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval", "holdout",
})  # fmt: skip
"""Folders of these names are parts of a data set and no classes, if there are no others."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture to protect.

    Attributes:
        name: POSIX path below the source folder.
        path: Where it lies.
        label: Class name.
    """

    name: str
    path: Path
    label: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source folder holds.

    Attributes:
        root: The folder.
        samples: Pictures with a class, sorted by name in code-point order.
        classes: Names of the classes that have samples, sorted.
        refused: Pictures without a class, or in a format that cannot be read; sorted.
        ignored: Kind of file ("hidden", or a suffix) -> how many were passed over; sorted.
        notes: What the owner should know about the folder.
        labels: Where the labels came from.
        table: The label table, as it was read; None where the folders are the classes.
    """

    root: Path
    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    refused: tuple[Refused, ...]
    ignored: dict[str, int]
    notes: tuple[str, ...]
    labels: Labels
    table: LabelTable | None

    @property
    def class_index(self) -> dict[str, int]:
        """Class name -> its place in `classes`."""
        return {name: index for index, name in enumerate(self.classes)}


def discover(root: Path, labels: Path | None = None) -> Listing:
    """List the pictures below a folder with their classes.

    The class is the first-level folder, unless a label table says otherwise.

    Args:
        root: The folder.
        labels: A table of `file_name,label`; None looks for metadata.csv or metadata.jsonl in
            `root` and falls back on the folders.

    Raises:
        InputError: If the folder or its labels cannot be used, or hold fewer than two classes.
    """
    walk = Walk(root)
    notes = walk.notes()
    table, origin = _find_table(walk, labels, notes)
    if not walk.pictures:
        raise InputError(
            f"{root} holds no pictures that can be read",
            "take the pictures out of the tar shards first, with `protect unpack`"
            if any(name.endswith(".tar") for name in walk.others)
            else "give a folder of JPEG, PNG, WebP or TIFF pictures",
            [*notes, *map(str, walk.refused)],
        )
    notes.extend(_unused_tables(walk, table))
    if table is None:
        samples, refused = _label_by_folder(walk, notes)
    else:
        samples, refused = _label_by_table(walk, table)
        if origin.kind == "metadata":
            _check_folders_agree(root, samples, table.path)
    refused = sorted([*walk.refused, *refused], key=lambda item: item.source)
    classes = tuple(sorted({sample.label for sample in samples}))
    if len(classes) < 2:
        found = f"one class only, {classes[0]!r}" if classes else "no picture with a class"
        raise InputError(
            f"{root} has {found}, and two classes or more are needed",
            "add pictures of another class",
            [*notes, *map(str, refused)],
        )
    notes.extend(_clash_notes(sample.name for sample in samples))
    return Listing(
        root=root,
        samples=tuple(samples),
        classes=classes,
        refused=tuple(refused),
        ignored=walk.ignored(_tables_in(root, walk, labels)),
        notes=tuple(notes),
        labels=origin,
        table=table,
    )


def announce_listing(listing: Listing, listener: Listener) -> None:
    """Say what there is to know of a folder, and what was passed over."""
    for note in listing.notes:
        listener(Notice(note, "warning"))
    if listing.ignored:
        kinds = ", ".join(f"{count} {kind}" for kind, count in listing.ignored.items())
        listener(Notice(f"passed over, as no pictures: {kinds}"))


def _tables_in(root: Path, walk: Walk, labels: Path | None) -> set[str]:
    """Return the names of the label tables in the folder; they are not counted as passed over."""
    names = {*_METADATA_TABLES, _METADATA_PARQUET}
    if labels is not None:
        same_name = (name for name in walk.others if PurePosixPath(name).name == labels.name)
        names.update(name for name in same_name if (root / name).resolve() == labels.resolve())
    return names


def _find_table(
    walk: Walk, labels: Path | None, notes: list[str]
) -> tuple[LabelTable | None, Labels]:
    """Return the table to label by, None for the folders, and how to record it."""
    tables = [name for name in _METADATA_TABLES if name in walk.others]
    if labels is not None:
        notes.extend(f"{name} is not used, as another label table is given" for name in tables)
        file = f"labels{labels.suffix.lower()}"
        return LabelTable.read(labels), Labels(kind="csv", file=file, column=LABEL_COLUMN)
    if _METADATA_PARQUET in walk.others:
        notes.append(f"{_METADATA_PARQUET} is not read: export it to metadata.csv to use it")
    if len(tables) == 2:
        raise InputError(
            f"{walk.root} holds both metadata.csv and metadata.jsonl", "remove one of the two"
        )
    for name in tables:
        table = LabelTable.read(walk.root / name)
        if table.has_column():
            return table, Labels(kind="metadata", file=name, column=LABEL_COLUMN)
        notes.append(
            f"{name} has no column {LABEL_COLUMN!r}: the folders are the classes, and it is not "
            "copied"
        )
    return None, Labels(kind="folders")


def _unused_tables(walk: Walk, table: LabelTable | None) -> Iterator[str]:
    """Say which label tables lie deeper in the folder, where they label nothing."""
    deeper = [
        name for name in walk.others if PurePosixPath(name).name in _METADATA_TABLES and "/" in name
    ]
    if table is not None:
        deeper = [name for name in deeper if walk.root / name != table.path]
    if deeper:
        yield f"label tables below the folder itself are not used or copied: {some_names(deeper)}"


def _require_class_folders(root: Path, pictures: Sequence[str]) -> Iterator[str]:
    """Refuse folders that are the splits of a data set; say so where they might be no classes.

    Args:
        root: The folder.
        pictures: Names below it.

    Raises:
        InputError: If all first folders are called as splits are.
    """
    folders: dict[str, set[str]] = {}
    for name in pictures:
        first, _, rest = name.partition("/")
        folders.setdefault(first, set()).add(rest.partition("/")[0] if "/" in rest else "")
    names = sorted(folders)
    if len(names) > 1 and {name.lower() for name in names} <= _SPLITS:
        raise InputError(
            f"{root} holds the splits {some_names(names)} of a data set, which are no classes",
            "protect each by itself, or only the one to train on, such as "
            f"{shlex.quote(str(root / names[-1]))}",
        )
    shared = set.intersection(*folders.values()) if len(names) > 1 else set()
    if len(shared) > 1 and "" not in set.union(*folders.values()):
        yield (
            f"the classes are the first folders ({some_names(names)}), and each holds the same "
            f"ones ({some_names(sorted(shared))}); if those are the classes, give a label table"
        )


def _label_by_folder(walk: Walk, notes: list[str]) -> tuple[list[Sample], list[Refused]]:
    if not any("/" in name for name in walk.pictures):
        raise InputError(
            f"labels are missing: the pictures lie directly in {walk.root}",
            f"put each into a folder named after its class ({walk.root}/cat/1.jpg), or list them "
            f"in {walk.root}/metadata.csv, with the columns {FILE_COLUMN},{LABEL_COLUMN} (`protect "
            "run` takes any such file with --labels)",
            [*notes, *map(str, walk.refused)],
        )
    notes.extend(_require_class_folders(walk.root, [name for name in walk.pictures if "/" in name]))
    samples: list[Sample] = []
    refused: list[Refused] = []
    for name in walk.pictures:
        folder, slash, _ = name.partition("/")
        if not slash:
            refused.append(Refused(source=name, reason="lies outside every class folder"))
        elif not folder.strip():
            refused.append(Refused(source=name, reason="lies in a class folder without a name"))
        else:
            samples.append(Sample(name, walk.root / name, folder))
    occupied = {
        name.partition("/")[0]
        for name in (*walk.pictures, *walk.aliases, *(item.source for item in walk.refused))
    }
    empty = sorted({printable_name(folder) for folder in walk.class_folders} - occupied)
    if empty:
        notes.append(f"folders without pictures are no classes: {some_names(empty)}")
    return samples, refused


def _label_by_table(walk: Walk, table: LabelTable) -> tuple[list[Sample], list[Refused]]:
    rows = {row.file_name: row for row in table.rows()}
    file = table.path.name
    samples: list[Sample] = []
    refused: list[Refused] = []
    for name in walk.pictures:
        row = rows.get(name)
        if row is None:
            refused.append(Refused(source=name, reason=f"not listed in {file}"))
        elif not row.label:
            reason = f"has no label in {file} line {row.line}"
            refused.append(Refused(source=name, reason=reason))
        else:
            samples.append(Sample(name, walk.root / name, row.label))
    known = {*walk.pictures, *walk.aliases, *(item.source for item in walk.refused)}
    for name in rows.keys() - known:
        found = "it is no picture" if name in walk.others else "there is no such file"
        reason = f"listed in {file} line {rows[name].line}, but {found}"
        refused.append(Refused(source=name, reason=reason))
    return samples, refused


def _check_folders_agree(root: Path, samples: Sequence[Sample], table: Path) -> None:
    """Refuse folders that are named like the classes of the table but say otherwise."""
    folders = {name.partition("/")[0] for name in (s.name for s in samples) if "/" in name}
    if not folders or not folders <= {sample.label for sample in samples}:
        return
    wrong = [s for s in samples if "/" in s.name and s.name.partition("/")[0] != s.label]
    if wrong:
        raise InputError(
            f"{root}: the folders and {table.name} disagree on the class of {len(wrong)} pictures",
            f"make them agree, or follow the table with --labels {shlex.quote(str(table))}",
            [f"{sample.name}: {sample.label!r} in {table.name}" for sample in wrong],
        )


def _clash_notes(names: Iterable[str]) -> list[str]:
    """Say which files or folders are one on a system that ignores case or normalises names."""
    seen: dict[str, str] = {}
    checked: set[str] = set()
    clashes: dict[str, str] = {}
    for name in names:
        part = name
        while part and part not in checked:
            checked.add(part)
            first = seen.setdefault(unicodedata.normalize("NFC", part).lower(), part)
            if first != part:
                clashes[part] = first
            part = part.rpartition("/")[0]
    if not clashes:
        return []
    pairs = [f"{first} and {second}" for second, first in sorted(clashes.items())]
    return [
        "an archive of this folder will not unpack on macOS or Windows, where these names are the "
        f"same: {some_names(pairs)}"
    ]

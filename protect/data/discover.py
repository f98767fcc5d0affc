"""A folder to its labelled samples: which files are pictures, what each is called, its class.

Owns the stable order, and the promise that no file is passed over in silence: it is a sample, or
refused with a reason, or counted by kind. Never opens a picture.
"""

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from protect.data.labels import FILE_COLUMN, LABEL_COLUMN, has_column, read_labels
from protect.errors import InputError
from protect.manifest import Labels, Refused

# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif",
    ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".avifs", ".jp2", ".j2k", ".j2c",
    ".jpc", ".jpf", ".jpx",
})
"""What `decode` can open, in lower case; many of these are refused there by their content."""

UNREADABLE_SUFFIXES = frozenset({
    ".heic", ".heif", ".hif", ".jxl", ".jxr", ".wdp", ".bpg", ".qoi", ".psd", ".psb", ".xcf",
    ".tga", ".pcx", ".dds", ".exr", ".pfm", ".dcm", ".raw", ".dng", ".cr2", ".cr3", ".crw", ".nef",
    ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".rwl", ".raf", ".pef", ".srw", ".x3f", ".3fr",
    ".iiq", ".erf", ".kdc", ".dcr", ".mrw",
})
"""Pictures all the same: left out with a reason, so that none looks protected."""
# fmt: on

_METADATA_TABLES = ("metadata.csv", "metadata.jsonl")
_METADATA_PARQUET = "metadata.parquet"
_SYSTEM_NAMES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"})
_SHOWN = 5

_FileId = tuple[int, int]


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
    """

    root: Path
    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    refused: tuple[Refused, ...]
    ignored: dict[str, int]
    notes: tuple[str, ...]
    labels: Labels


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
    walk = _Walk(root)
    notes = walk.notes()
    table, origin = _find_table(walk, labels, notes)
    if not walk.pictures:
        raise InputError(
            f"{root} holds no pictures that can be read",
            "give a folder of JPEG, PNG, WebP or TIFF pictures",
            _lines(walk.refused, notes),
        )
    if table is None:
        samples, refused = _label_by_folder(walk, notes)
    else:
        samples, refused = _label_by_table(walk, table)
        if origin.kind == "metadata":
            _check_folders_agree(root, samples, table)
    refused = sorted([*walk.refused, *refused], key=lambda item: item.source)
    classes = tuple(sorted({sample.label for sample in samples}))
    if len(classes) < 2:
        found = f"one class only, {classes[0]!r}" if classes else "no picture with a class"
        raise InputError(
            f"{root} has {found}: there is nothing to mislead a network with",
            "add pictures of another class",
            _lines(refused, notes),
        )
    notes.extend(_clash_notes(sample.name for sample in samples))
    return Listing(
        root=root,
        samples=tuple(samples),
        classes=classes,
        refused=tuple(refused),
        ignored=walk.ignored(labels),
        notes=tuple(notes),
        labels=origin,
    )


@dataclass(slots=True)
class _Walk:
    """Everything below a folder, sorted by what it is; reads the folder when made.

    Real folders are read before links are followed, so that a picture is known by its real path.
    """

    root: Path
    pictures: list[str] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    class_folders: list[str] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    hidden: int = 0
    _links: list[str] = field(default_factory=list)
    _dangling: list[str] = field(default_factory=list)
    _skipped: list[str] = field(default_factory=list)
    _folders: set[_FileId] = field(default_factory=set)
    _files: dict[_FileId, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._read_tree("")
        real_root = self.root.resolve()
        file_links: list[tuple[str, os.stat_result]] = []
        while self._links:
            links, self._links = sorted(self._links), []
            for name in links:
                try:
                    info = (self.root / name).stat()
                    target = (self.root / name).resolve()
                except (OSError, RuntimeError):
                    self._dangling.append(name)
                    continue
                if not stat.S_ISDIR(info.st_mode):
                    file_links.append((name, info))
                elif _identity(info) in self._folders or real_root.is_relative_to(target):
                    self._skipped.append(name)
                else:
                    if "/" not in name:
                        self.class_folders.append(name)
                    self._read_tree(name)
        for name, info in sorted(file_links):
            real = self._files.get(_identity(info))
            if real is not None:
                self.aliases[name] = real
            else:
                self._sort_file(name, is_regular=stat.S_ISREG(info.st_mode))
        self.pictures.sort()

    def _read_tree(self, start: str) -> None:
        stack = [start]
        while stack:
            folder = stack.pop()
            prefix = f"{folder}/" if folder else ""
            path = self.root / folder
            try:
                identity = _identity(path.stat())
                if identity in self._folders:
                    continue
                self._folders.add(identity)
                with os.scandir(path) as entries:
                    for entry in entries:
                        name = prefix + entry.name
                        if entry.name.startswith(".") or entry.name.lower() in _SYSTEM_NAMES:
                            self.hidden += 1
                        elif entry.is_symlink():
                            self._links.append(name)
                        elif entry.is_dir(follow_symlinks=False):
                            stack.append(name)
                            if not prefix:
                                self.class_folders.append(name)
                        elif self._sort_file(name, entry.is_file(follow_symlinks=False)):
                            self._files[identity[0], entry.inode()] = name
            except OSError as error:
                raise InputError(
                    f"{_printable(str(path))} cannot be read: {error.strerror}",
                    "give an existing folder, all of which you may read",
                ) from None

    def _sort_file(self, name: str, is_regular: bool) -> bool:
        """Put a file where it belongs; return whether it is a usable picture."""
        suffix = _suffix(name)
        if suffix not in IMAGE_SUFFIXES and suffix not in UNREADABLE_SUFFIXES:
            self.others.append(name)
            return False
        if _printable(name) != name:
            self._refuse(name, "its name is not valid UTF-8: rename it first")
        elif not is_regular:
            self._refuse(name, "is not a regular file")
        elif suffix in UNREADABLE_SUFFIXES:
            kind = suffix[1:].upper()
            self._refuse(name, f"is {kind}, which cannot be read: convert it to PNG or JPEG first")
        else:
            self.pictures.append(name)
            return True
        return False

    def _refuse(self, name: str, reason: str) -> None:
        self.refused.append(Refused(source=_printable(name), reason=reason))

    def notes(self) -> list[str]:
        """Say what became of the links."""
        aliases = [f"{link} -> {real}" for link, real in self.aliases.items()]
        kinds = (
            (self._dangling, "links that lead nowhere"),
            (aliases, "links to pictures that are in the folder anyway; those are protected once"),
            (self._skipped, "links to folders that are read anyway, or that contain this one"),
        )
        return [f"{words}: {_some(names)}" for names, words in kinds if names]

    def ignored(self, labels: Path | None) -> dict[str, int]:
        """Count what was passed over, by kind; label tables are not."""
        tables = {self.root / name for name in (*_METADATA_TABLES, _METADATA_PARQUET)}
        paths = [self.root / name for name in self.others]
        if labels is not None:
            same_name = (path for path in paths if path.name == labels.name)
            tables.update(path for path in same_name if path.resolve() == labels.resolve())
        counts = Counter(_suffix(path.name) or "no suffix" for path in paths if path not in tables)
        if self.hidden:
            counts["hidden"] = self.hidden
        return dict(sorted(counts.items()))


def _find_table(walk: _Walk, labels: Path | None, notes: list[str]) -> tuple[Path | None, Labels]:
    """Return the table to label by, None for the folders, and how to record it."""
    tables = [name for name in _METADATA_TABLES if name in walk.others]
    if labels is not None:
        notes.extend(f"{name} is not used, as another label table is given" for name in tables)
        file = f"labels{labels.suffix.lower()}"
        return labels, Labels(kind="csv", file=file, column=LABEL_COLUMN)
    if _METADATA_PARQUET in walk.others:
        notes.append(f"{_METADATA_PARQUET} is not read: export it to metadata.csv to use it")
    if len(tables) == 2:
        raise InputError(
            f"{walk.root} holds both metadata.csv and metadata.jsonl", "remove one of the two"
        )
    if tables and has_column(walk.root / tables[0]):
        return walk.root / tables[0], Labels(kind="metadata", file=tables[0], column=LABEL_COLUMN)
    notes.extend(
        f"{name} has no column {LABEL_COLUMN!r}: the folders are the classes, and it is not copied"
        for name in tables
    )
    return None, Labels(kind="folders")


def _label_by_folder(walk: _Walk, notes: list[str]) -> tuple[list[Sample], list[Refused]]:
    if not any("/" in name for name in walk.pictures):
        raise InputError(
            f"labels are missing: the pictures lie directly in {walk.root}",
            f"put each into a folder named after its class ({walk.root}/cat/1.jpg), or give "
            f"--labels labels.csv with the columns {FILE_COLUMN},{LABEL_COLUMN}",
            _lines(walk.refused, notes),
        )
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
    empty = sorted({_printable(folder) for folder in walk.class_folders} - occupied)
    if empty:
        notes.append(f"folders without pictures are no classes: {_some(empty)}")
    return samples, refused


def _label_by_table(walk: _Walk, table: Path) -> tuple[list[Sample], list[Refused]]:
    rows = {row.file_name: row for row in read_labels(table)}
    samples: list[Sample] = []
    refused: list[Refused] = []
    for name in walk.pictures:
        row = rows.get(name)
        if row is None:
            refused.append(Refused(source=name, reason=f"not listed in {table.name}"))
        elif not row.label:
            reason = f"has no label in {table.name} line {row.line}"
            refused.append(Refused(source=name, reason=reason))
        else:
            samples.append(Sample(name, walk.root / name, row.label))
    known = {*walk.pictures, *walk.aliases, *(item.source for item in walk.refused)}
    for name in rows.keys() - known:
        found = "it is no picture" if name in walk.others else "there is no such file"
        reason = f"listed in {table.name} line {rows[name].line}, but {found}"
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
            f"make them agree, or follow the table with --labels {table}",
            [f"{sample.name}: {sample.label!r} in {table.name}" for sample in wrong[:_SHOWN]],
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
        f"same: {_some(pairs)}"
    ]


def _identity(info: os.stat_result) -> _FileId:
    return info.st_dev, info.st_ino


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _printable(name: str) -> str:
    """Spell bytes that are not UTF-8 as escapes; return any other name as it is."""
    return name if name.isascii() else name.encode(errors="backslashreplace").decode()


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(_printable(name) for name in names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _lines(refused: Sequence[Refused], notes: Sequence[str]) -> list[str]:
    shown = [f"{item.source}: {item.reason}" for item in refused[:_SHOWN]]
    more = len(refused) - _SHOWN
    return [*notes, *shown, *([f"and {more} more"] if more > 0 else [])]

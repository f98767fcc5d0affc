"""Everything below a folder, sorted by what it is: pictures, unreadable pictures, the rest.

Owns the walk: hidden files, links and their loops, folders that may not be read. Knows no labels.
"""

import os
import stat
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from protect.documents.manifest import Refused
from protect.errors import InputError

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
    ".iiq", ".erf", ".kdc", ".dcr", ".mrw", ".ico", ".icns", ".sgi", ".ras",
})
"""Pictures all the same: left out with a reason, so that none looks protected."""
# fmt: on
PICTURE_SUFFIXES = IMAGE_SUFFIXES | UNREADABLE_SUFFIXES
"""Of all that counts as a picture."""

_SYSTEM_NAMES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"})
SHOWN = 5
"""Names that a note lists before it counts the rest."""

_FileId = tuple[int, int]


@dataclass(slots=True)
class Walk:
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
                    f"{printable_name(str(path))} cannot be read: {error.strerror}",
                    "give an existing folder, all of which you may read",
                ) from None

    def _sort_file(self, name: str, is_regular: bool) -> bool:
        """Put a file where it belongs; return whether it is a usable picture."""
        suffix = _suffix(name)
        if suffix not in PICTURE_SUFFIXES:
            self.others.append(name)
            return False
        if printable_name(name) != name:
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
        self.refused.append(Refused(source=printable_name(name), reason=reason))

    def notes(self) -> list[str]:
        """Say what became of the links."""
        aliases = [f"{link} -> {real}" for link, real in self.aliases.items()]
        kinds = (
            (self._dangling, "links that lead nowhere"),
            (aliases, "links to pictures that are in the folder anyway; those are protected once"),
            (self._skipped, "links to folders that are read anyway, or that contain this one"),
        )
        return [f"{words}: {some_names(names)}" for names, words in kinds if names]

    def ignored(self, tables: Container[str]) -> dict[str, int]:
        """Count what was passed over, by kind, but for the label tables of these names."""
        names = (name for name in self.others if name not in tables)
        counts = Counter(_suffix(name) or "no suffix" for name in names)
        if self.hidden:
            counts["hidden"] = self.hidden
        return dict(sorted(counts.items()))


def printable_name(name: str) -> str:
    """Spell bytes that are not UTF-8 as escapes; return any other name as it is."""
    return name if name.isascii() else name.encode(errors="backslashreplace").decode()


def some_names(names: Sequence[str]) -> str:
    """Spell the first names, and count the rest."""
    shown = ", ".join(printable_name(name) for name in names[:SHOWN])
    more = len(names) - SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _identity(info: os.stat_result) -> _FileId:
    return info.st_dev, info.st_ino


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()

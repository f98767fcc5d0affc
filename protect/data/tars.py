"""Tar shards as WebDataset lays them out: members of one name up to the first dot are one sample.

Owns what of a shard may be trusted: names that stay below it, plain files, no name twice, and an
end where it should be. Never opens a picture, and holds no more than one block of one in memory.
"""

import csv
import io
import json
import posixpath
import re
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NoReturn

from protect.data.labels import FILE_COLUMN, LABEL_COLUMN
from protect.data.walk import PICTURE_SUFFIXES, printable_name
from protect.errors import InputError
from protect.events import Listener, StageAdvanced, ignore, stage
from protect.system.folders import whole_folder

LABEL_MEMBERS = ("cls", "json")
"""Where the class of a sample is looked for, in this order."""
LABEL_TABLE = "metadata.csv"
_LARGEST_LABEL = 1 << 24
_SHARD_SUFFIX = ".tar"
_MEND = "replace it by an intact copy"


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a shard.

    Attributes:
        info: Its header.
        name: POSIX path of its own below the folder that the shards are unpacked into.
        key: Path of its sample; empty for a member that belongs to none.
        extension: What follows the first dot, in lower case.
    """

    info: tarfile.TarInfo
    name: str
    key: str
    extension: str

    @property
    def is_picture(self) -> bool:
        """Whether it is named like a picture, readable or not."""
        suffix = f".{self.name.rpartition('.')[2].lower()}"
        return self.info.isreg() and suffix in PICTURE_SUFFIXES


@dataclass(slots=True)
class _Sample:
    pictures: list[str] = field(default_factory=list)
    labels: dict[str, bytes] = field(default_factory=dict)


def find_shards(places: Sequence[Path]) -> list[Path]:
    """List the shards that are named, or lie in folders that are named, in order.

    Raises:
        InputError: If a place is neither, holds none, or two shards have one name.
    """
    shards: list[Path] = []
    for place in places:
        found = sorted(place.glob(f"*{_SHARD_SUFFIX}")) if place.is_dir() else [place]
        wrong = [path for path in found if path.suffix != _SHARD_SUFFIX or not path.is_file()]
        if wrong or not found:
            raise InputError(
                f"{wrong[0]} is no tar file" if wrong else f"{place} holds no tar files",
                f"name shards that end in {_SHARD_SUFFIX}, without compression, or their folder",
            )
        shards += found
    by_name: dict[str, Path] = {}
    for shard in shards:
        name = shard.stem
        if name != printable_name(name).strip() or name.startswith(".") or "\\" in name:
            raise InputError(f"{shard} has a name that no folder of pictures can have", "rename it")
        if by_name.setdefault(name.casefold(), shard) is not shard:
            raise InputError(f"{by_name[name.casefold()]} and {shard} have one name", "rename one")
    return shards


def read_shard(shard: Path) -> Iterator[tuple[Member, IO[bytes] | None]]:
    """Read a shard from its start to its end.

    Yields:
        Each member with its content, which is to be read before the next one; None for a folder.

    Raises:
        InputError: If it cannot be read to its end, or holds what no shard should.
    """
    seen: set[str] = set()
    try:
        with shard.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for info in archive:
                member = _member(shard, info)
                if member.name in seen and not info.isdir():
                    _refuse(shard, info, "is there twice")
                seen.add(member.name)
                if info.offset_data + info.size > shard.stat().st_size:
                    _refuse(shard, info, "is cut short")
                yield member, archive.extractfile(info)
            # tarfile takes whatever is no header for the end of the archive.
            file.seek(archive.offset)
            is_whole = file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise InputError(f"{shard} cannot be read: {error}", _MEND) from None
    if not is_whole:
        raise InputError(f"{shard} is damaged after byte {archive.offset}, or cut short", _MEND)


def unpack_shards(
    shards: Sequence[Path], output: Path, label: str | None = None, listener: Listener = ignore
) -> int:
    """Write the pictures of shards into a folder that `protect run` can read, with their classes.

    Args:
        shards: As `find_shards` gives them.
        output: The folder to make; each shard becomes a folder in it.
        label: Extension of the member that tells the class; None for `cls`, else `json`.
        listener: Told what happens.

    Returns:
        How many pictures were written.

    Raises:
        InputError: If a shard cannot be trusted, or a sample has no class or several pictures.
        OutputError: If the folder exists.
    """
    rows: list[tuple[str, str]] = []
    wanted = LABEL_MEMBERS if label is None else (label.lower().lstrip("."),)
    with (
        stage("Unpacking shards", len(shards), listener),
        whole_folder(output) as folder,
    ):
        for shard in shards:
            for key, sample in _unpack(shard, folder, wanted).items():
                if sample.pictures:
                    rows.append(_row(shard, key, sample, wanted))
            listener(StageAdvanced())
        if not rows:
            raise InputError("the shards hold no pictures", "name others")
        text = io.StringIO(newline="")
        csv.writer(text).writerows([(FILE_COLUMN, LABEL_COLUMN), *rows])
        (folder / LABEL_TABLE).write_bytes(text.getvalue().encode())
    return len(rows)


def _unpack(shard: Path, folder: Path, wanted: Sequence[str]) -> dict[str, _Sample]:
    """Write the pictures of a shard, and return what it says of each sample."""
    samples: dict[str, _Sample] = {}
    for member, content in read_shard(shard):
        if content is None:
            continue
        sample = samples.setdefault(member.key, _Sample())
        if member.is_picture:
            sample.pictures.append(member.name)
            target = folder / member.name
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:
                    shutil.copyfileobj(content, file)
            except (FileExistsError, NotADirectoryError):
                _refuse(shard, member.info, "is there twice, or both a file and a folder")
        elif member.extension in wanted:
            if member.info.size > _LARGEST_LABEL:
                _refuse(shard, member.info, "is too large to say a class")
            sample.labels[member.extension] = content.read()
    return samples


def _row(shard: Path, key: str, sample: _Sample, wanted: Sequence[str]) -> tuple[str, str]:
    """Return a picture with its class."""
    if len(sample.pictures) > 1:
        raise InputError(
            f"{shard}: the sample {printable_name(key)} has {len(sample.pictures)} pictures",
            "leave one picture in each sample, as nobody says which is to be protected",
            sample.pictures,
        )
    found = next((name for name in wanted if name in sample.labels), None)
    if found is None:
        members = " or ".join(f"{printable_name(key)}.{name}" for name in wanted)
        raise InputError(
            f"{shard} has no member {members} that says the class of the sample",
            "name the extension of the member that does with --label",
        )
    return sample.pictures[0], _label(shard, f"{key}.{found}", found, sample.labels[found])


def _label(shard: Path, member: str, extension: str, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig").strip()
        if extension.rpartition(".")[2] == "json":
            value = json.loads(text)
            value = value.get(LABEL_COLUMN) if isinstance(value, dict) else None
            is_number = isinstance(value, int | float)
            text = json.dumps(value) if is_number else value.strip() if value else ""
        text.encode()
    except (ValueError, AttributeError, RecursionError):
        text = ""
    if not text or "\0" in text:
        raise InputError(
            f"{shard}: {printable_name(member)} says no class",
            f'a class is text, or the "{LABEL_COLUMN}" of a JSON object',
        )
    return text


def _member(shard: Path, info: tarfile.TarInfo) -> Member:
    plain = posixpath.normpath(info.name)
    if printable_name(info.name) != info.name or "\0" in info.name:
        _refuse(shard, info, "has a name that is not valid UTF-8")
    if plain.startswith("/") or plain.split("/")[0] == ".." or re.search(r"\\|^[A-Za-z]:", plain):
        _refuse(shard, info, "leads out of the shard")
    if not (info.isreg() or info.isdir()) or info.issparse():
        _refuse(shard, info, "is no plain file, but a link, a device or a sparse file")
    folder, slash, file = plain.rpartition("/")
    stem, dot, extension = file.partition(".")
    member = Member(
        info=info,
        name=f"{shard.stem}/{plain}",
        key=f"{folder}{slash}{stem}" if stem and dot else "",
        extension=extension.lower(),
    )
    if member.is_picture and any(part.startswith(".") for part in plain.split("/")):
        _refuse(shard, info, "is a hidden picture, or one without a key")
    return member


def _refuse(shard: Path, info: tarfile.TarInfo, problem: str) -> NoReturn:
    raise InputError(
        f"{shard}: the member {printable_name(info.name)} {problem}",
        "make the shard anew, or leave that member out",
    )

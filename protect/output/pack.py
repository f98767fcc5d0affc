"""A protected folder back into the shards that its originals were unpacked from."""

import io
import posixpath
import tarfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from protect.data.tars import Member, read_shard
from protect.data.walk import printable_name
from protect.documents.manifest import ImageRecord, Manifest
from protect.documents.shard_report import ShardReport
from protect.errors import ConfigError, InputError
from protect.events import Listener, StageAdvanced, ignore, stage
from protect.system.files import is_within, sha256_of_bytes
from protect.system.folders import whole_folder


def pack_shards(
    protected: Path,
    manifest: Manifest,
    shards: Sequence[Path],
    output: Path,
    listener: Listener = ignore,
) -> ShardReport:
    """Write shards of the same names and keys, with the protected picture in each sample.

    Args:
        protected: What `protect run` made of the folder of `unpack_shards`.
        manifest: Of that folder.
        shards: As they were unpacked.
        output: The folder to make.
        listener: Told what happens.

    Raises:
        ConfigError: If the output lies in the protected folder.
        InputError: If shards or pictures are not those of the manifest.
        OutputError: If the folder exists.
    """
    if is_within(output, protected):
        raise ConfigError(f"{output} lies inside {protected}", "name a folder elsewhere with -o")
    records = {image.source: image for image in manifest.images}
    packed: set[str] = set()
    left_out: list[str] = []
    carried: Counter[str] = Counter()
    with (
        stage("Packing shards", len(shards), listener),
        whole_folder(output) as folder,
    ):
        for shard in shards:
            unprotected = {
                member.key: member.name
                for member, _ in read_shard(shard)
                if member.is_picture and member.name not in records
            }
            left_out += unprotected.values()
            with tarfile.open(folder / shard.name, "w") as archive:
                for member, content in read_shard(shard):
                    if member.key and member.key in unprotected:
                        continue
                    if content is not None and member.is_picture:
                        record = records[member.name]
                        _require_original(shard, record, content)
                        data = _published(protected, record)
                        archive.addfile(_header(member, len(data)), io.BytesIO(data))
                        packed.add(member.name)
                    else:
                        archive.addfile(member.info, content)
                        carried.update([member.extension] if content is not None else [])
            listener(StageAdvanced())
        missing = sorted(records.keys() - packed)
        if missing:
            raise InputError(
                f"{len(missing)} pictures of {protected} are in none of the shards",
                "name all shards that its originals were unpacked from",
                missing,
            )
    return ShardReport(
        n_pictures=len(packed),
        carried=dict(sorted(carried.items())),
        left_out=tuple(left_out),
    )


def _require_original(shard: Path, record: ImageRecord, content: IO[bytes]) -> None:
    if sha256_of_bytes(content.read()) != record.source_sha256:
        raise InputError(
            f"{shard}: {printable_name(record.source)} is not the picture that was protected",
            "unpack and protect the shards again",
        )


def _published(protected: Path, record: ImageRecord) -> bytes:
    path = protected / record.output
    data = path.read_bytes() if is_within(path, protected) and path.is_file() else b""
    if sha256_of_bytes(data) != record.output_sha256:
        raise InputError(
            f"{path} is not what its manifest says", "see what `protect check` says of this folder"
        )
    return data


def _header(member: Member, size: int) -> tarfile.TarInfo:
    """Return the header of the PNG that replaces a picture."""
    before = member.info
    header = tarfile.TarInfo(f"{posixpath.splitext(before.name)[0]}.png")
    header.size = size
    header.mtime, header.mode = before.mtime, before.mode
    header.uid, header.gid = before.uid, before.gid
    header.uname, header.gname = before.uname, before.gname
    return header

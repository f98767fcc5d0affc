"""Tar shards: taken apart, protected, and put together again."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from helpers import COLOURS, TINY, cli
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded
from PIL import Image

from protect.data.tars import find_shards, unpack_shards
from protect.errors import ProtectError


def member(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def array(seed: int) -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(seed, seed + 3))
    return file.getvalue()


def coloured(label: str, seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(-40, 41, (32, 32, 3))
    pixels = np.clip(np.array(COLOURS[label]) + noise, 0, 255).astype(np.uint8)
    return encoded(Image.fromarray(pixels), "PNG")


def sample(key: str, label: str, seed: int = 0) -> list[tuple[tarfile.TarInfo, bytes]]:
    facts = json.dumps({"caption": f"sehr {label}", "label": "wrong"}).encode()
    return [
        member(f"{key}.PNG", coloured(label, seed), mtime=1234567.25, uname="owner"),
        member(f"{key}.cls", f"{sorted(COLOURS).index(label)}\n".encode()),
        member(f"{key}.json", facts),
        member(f"{key}.embedding.npy", array(seed)),
    ]


def write_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return path


def write_shards(folder: Path) -> Path:
    """Write two shards of eight pictures, with a folder, deep keys and a member without a key."""
    long = "x" * 120
    first = [
        member("README", b"of the shard"),
        *sample("./000", "red"),
        *sample("./001", "blue", 1),
    ]
    second = [
        member("deep", type=tarfile.DIRTYPE),
        *(m for i in range(4) for m in sample(f"deep/é {i}", ("red", "blue")[i % 2], i + 2)),
        *sample(long, "red", 6),
        *sample("000", "blue", 7),
    ]
    write_tar(folder / "data-0000.tar", first)
    write_tar(folder / "data-0001.tar", second)
    return folder


def members_of(shard: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(shard) as archive:
        files = [(info, archive.extractfile(info)) for info in archive]
        return [(info.name, file.read() if file else b"") for info, file in files]


def by_webdataset(folder: Path) -> list[dict]:
    import webdataset

    data = webdataset.WebDataset(sorted(map(str, folder.glob("*.tar"))), shardshuffle=False)
    return list(data.decode("rgb8"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_shards_come_back_with_protected_pictures_and_all_else_as_it_was(tmp_path):
    shards = write_shards(tmp_path / "shards")
    photos, out, published = (tmp_path / name for name in ("photos", "protected", "published"))
    unpacked = cli("unpack", shards, "-o", photos)
    assert unpacked.exit_code == 0, unpacked.stderr
    assert "8 pictures" in unpacked.stdout
    run = cli("run", photos, "-o", out, *TINY, "--manifest", tmp_path / "mapping.json")
    assert run.exit_code == 0, run.stderr
    assert cli("check", out).exit_code == 0
    packed = cli("pack", out, shards, "-o", published)
    assert packed.exit_code == 0, packed.stderr
    assert "8 embedding.npy as they were" in packed.stdout
    assert not list(tmp_path.glob("*.partial"))

    manifest = json.loads((tmp_path / "mapping.json").read_text())
    assert manifest["classes"] == {"0": 0, "1": 1}
    assert {path.name for path in published.iterdir()} == {"data-0000.tar", "data-0001.tar"}
    for shard in sorted(published.iterdir()):
        before, after = members_of(shards / shard.name), members_of(shard)
        assert [name.replace(".PNG", ".png") for name, _ in before] == [name for name, _ in after]
        for (name, data), (_, written) in zip(before, after, strict=True):
            if not name.endswith(".PNG"):
                assert written == data
                continue
            old, new = (np.asarray(Image.open(io.BytesIO(b))).astype(int) for b in (data, written))
            assert 0 < abs(new - old).max() <= 8

    assert [(one["__key__"], one["cls"], one["json"]) for one in by_webdataset(published)] == [
        (one["__key__"], one["cls"], one["json"]) for one in by_webdataset(shards)
    ]
    for one in by_webdataset(published):
        assert one["png"].shape == (32, 32, 3)


def test_a_picture_that_was_left_out_takes_its_sample_with_it(tmp_path):
    spoiled = [member("bad.jpg", b"no picture"), member("bad.cls", b"0"), member("bad.txt", b"!")]
    shards = write_shards(tmp_path / "shards")
    write_tar(shards / "data-0002.tar", [*sample("good", "red", 9), *spoiled])
    photos, out, published = (tmp_path / name for name in ("photos", "protected", "published"))
    unpacked = cli("unpack", shards, "-o", photos, "--json")
    assert json.loads(unpacked.stdout)["n_pictures"] == 10
    assert cli("run", photos, "-o", out, *TINY, "--on-error", "skip").exit_code == 1
    packed = cli("pack", out, shards, "-o", published)
    assert packed.exit_code == 1
    assert "left out, not protected: data-0002/bad.jpg" in packed.stdout
    again = cli("pack", out, shards, "-o", tmp_path / "once more", "--json")
    assert again.exit_code == 1
    assert json.loads(again.stdout) == {
        "schema_version": 1,
        "n_pictures": 9,
        "carried": {"": 1, "cls": 9, "embedding.npy": 9, "json": 9},
        "left_out": ["data-0002/bad.jpg"],
    }
    names = [name for name, _ in members_of(published / "data-0002.tar")]
    assert names == ["good.png", "good.cls", "good.json", "good.embedding.npy"]

    for spoil, words in (
        (lambda: (out / "data-0002" / "good.png").write_bytes(b""), "not what its manifest says"),
        (
            lambda: write_tar(shards / "data-0000.tar", sample("000", "blue", 42)),
            "is not the picture that was protected",
        ),
        (lambda: (shards / "data-0000.tar").unlink(), "in none of the shards"),
    ):
        kept = saved(shards, out)
        spoil()
        result = cli("pack", out, shards, "-o", tmp_path / "again")
        for path, data in kept.items():
            path.write_bytes(data)
        assert result.exit_code == 2
        assert words in result.stderr
        assert not list(tmp_path.glob("again*"))
    for place, words in ((out / "x", "lies inside"), (shards, "not an empty folder")):
        result = cli("pack", out, shards, "-o", place)
        assert result.exit_code == 2
        assert words in result.stderr


def saved(*folders: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for folder in folders for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("extra", "flags", "label"),
    [
        ([member("a.cls", b"7")], (), "7"),
        ([member("a.cls", b" \xef\xbb\xbf".strip() + b"007\n")], (), "007"),
        ([member("a.json", b'{"label": "cat, big"}')], (), "cat, big"),
        ([member("a.json", b'{"label": 3}')], (), "3"),
        ([member("a.json", b'{"label": "b"}'), member("a.cls", b"a")], (), "a"),
        ([member("a.json", b'{"label": "b"}'), member("a.cls", b"a")], ("--label", "json"), "b"),
        ([member("a.txt", "größe\n".encode())], ("--label", "txt"), "größe"),
        ([member("a.meta.json", b'{"label": true}')], ("--label", ".meta.json"), "true"),
    ],
)
def test_the_class_is_told_by_a_member(tmp_path, extra, flags, label):
    shard = write_tar(tmp_path / "s.tar", [member("a.jpg", b"x"), *extra])
    result = cli("unpack", shard, "-o", tmp_path / "photos", *flags)
    assert result.exit_code == 0, result.stderr
    table = (tmp_path / "photos" / "metadata.csv").read_text(encoding="utf-8").splitlines()
    quoted = f'"{label}"' if "," in label else label
    assert table == ["file_name,label", f"s/a.jpg,{quoted}"]
    assert (tmp_path / "photos" / "s" / "a.jpg").read_bytes() == b"x"


A = member("a.jpg", b"x")
CLS = member("a.cls", b"7")
REFUSED = {
    "escapes": ([member("../a.jpg", b"x"), CLS], "leads out"),
    "escapes inside": ([member("b/../../a.jpg", b"x"), CLS], "leads out"),
    "absolute": ([member("/tmp/a.jpg", b"x"), CLS], "leads out"),
    "a drive": ([member("C:/a.jpg", b"x"), CLS], "leads out"),
    "backslashes": ([member("..\\a.jpg", b"x"), CLS], "leads out"),
    "a label that escapes": ([A, member("../a.cls", b"7")], "leads out"),
    "a link": ([member("a.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd"), CLS], "plain file"),
    "a hard link": ([A, member("b.jpg", type=tarfile.LNKTYPE, linkname="a.jpg")], "plain file"),
    "a device": ([A, member("a.dev", type=tarfile.CHRTYPE)], "plain file"),
    "a pipe": ([A, member("a.fifo", type=tarfile.FIFOTYPE)], "plain file"),
    "the same twice": ([A, CLS, A], "twice"),
    "the same label twice": ([A, CLS, member("./a.cls", b"8")], "twice"),
    "a file and a folder": ([A, CLS, member("a.jpg/b.jpg", b"x")], "twice"),
    "two pictures": ([A, CLS, member("a.mask.png", b"x")], "has 2 pictures"),
    "no class": ([A], "no member a.cls or a.json"),
    "no class in JSON": ([A, member("a.json", b'{"tag": 1}')], "says no class"),
    "a list in JSON": ([A, member("a.json", b'{"label": [1]}')], "says no class"),
    "no JSON": ([A, member("a.json", b"{")], "says no class"),
    "an empty class": ([A, member("a.cls", b" \n")], "says no class"),
    "a class of bytes": ([A, member("a.cls", b"\xff")], "says no class"),
    "a class with NUL": ([A, member("a.cls", b"a\0b")], "says no class"),
    "half a character": ([A, member("a.json", b'{"label": "\\ud800"}')], "says no class"),
    "a hidden picture": ([A, CLS, member(".b/c.jpg", b"x"), member(".b/c.cls", b"7")], "hidden"),
    "a picture without key": ([A, CLS, member(".jpg", b"x")], "without a key"),
    "no pictures": ([CLS], "no pictures"),
    "nothing": ([], "no pictures"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_shard_should_hold_is_refused_and_leaves_nothing_behind(tmp_path, case):
    members, words = REFUSED[case]
    shard = write_tar(tmp_path / "s" / "s.tar", members)
    result = cli("unpack", shard, "-o", tmp_path / "s" / "photos")
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert "hint" in result.stderr
    assert list(tmp_path.rglob("*")) == [tmp_path / "s", shard]


def test_a_name_in_no_encoding_is_refused(tmp_path):
    shard = write_tar(tmp_path / "s.tar", [member("\udce9.jpg", b"x")])
    result = cli("unpack", shard, "-o", tmp_path / "photos")
    assert result.exit_code == 2
    assert "not valid UTF-8" in result.stderr


def test_a_sparse_member_is_refused(tmp_path):
    info, data = member("a.jpg", b"x")
    info.pax_headers = {"GNU.sparse.size": str(1 << 50), "GNU.sparse.map": "0,1"}
    shard = write_tar(tmp_path / "s.tar", [(info, data), CLS])
    result = cli("unpack", shard, "-o", tmp_path / "photos")
    assert result.exit_code == 2
    assert "sparse" in result.stderr


def test_a_shard_that_is_cut_short_anywhere_is_refused(tmp_path):
    whole = write_tar(tmp_path / "whole.tar", [*sample("a", "red"), *sample("b", "blue", 1)])
    data = whole.read_bytes()
    with tarfile.open(whole) as archive:
        starts = [info.offset for info in archive]
        end = archive.offset
    cut = tmp_path / "cut.tar"
    for length in sorted(
        {0, 1, *starts, *(s + 100 for s in starts), *(s + 600 for s in starts), end}
    ):
        cut.write_bytes(data[:length])
        with pytest.raises(ProtectError, match=r"cut\.tar"):
            unpack_shards([cut], tmp_path / "photos")
        assert not list(tmp_path.glob("photos*"))
    for start in starts[1:]:
        cut.write_bytes(data[:start] + b"\xff" * 512 + data[start + 512 :])
        with pytest.raises(ProtectError, match=r"cut\.tar"):
            unpack_shards([cut], tmp_path / "photos")


@settings(max_examples=100)
@given(st.data())
def test_any_bytes_are_unpacked_or_refused(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("fuzz")
    shard = write_tar(root / "s.tar", sample("a", "red"))
    content = bytearray(shard.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    shard.write_bytes(bytes(content))
    try:
        unpack_shards([shard], root / "photos")
    except ProtectError as error:
        assert "s.tar" in error.message or "no pictures" in error.message
    outside = {p for p in root.rglob("*") if p.is_file()} - {shard}
    assert all(p.is_relative_to(root / "photos") for p in outside)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["nowhere.tar"], "nowhere.tar is no tar file"),
        (["empty"], "holds no tar files"),
        (["s.tar.gz"], "is no tar file"),
        (["text.tar"], "cannot be read"),
        (["a/s.tar", "b/S.tar"], "have one name"),
        ([".hidden.tar"], "no folder of pictures"),
    ],
)
def test_what_is_no_shard_is_named(tmp_path, names, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.tar").write_bytes(b"no tar at all" * 100)
    (tmp_path / "s.tar.gz").write_bytes(b"\x1f\x8b")
    for name in ("a/s.tar", "b/S.tar", ".hidden.tar"):
        write_tar(tmp_path / name, [A, CLS])
    result = cli("unpack", *(tmp_path / name for name in names), "-o", tmp_path / "photos")
    assert result.exit_code == 2
    assert words in result.stderr
    assert not (tmp_path / "photos").exists()


def test_places_that_are_taken_are_not_touched_and_run_points_to_unpack(tmp_path):
    shards = write_shards(tmp_path / "shards")
    assert len(find_shards([shards])) == 2
    (tmp_path / "photos.partial").mkdir()
    for place, words in ((shards, "not an empty folder"), (tmp_path / "photos", "in the way")):
        result = cli("unpack", shards, "-o", place)
        assert result.exit_code == 2
        assert words in result.stderr
    (tmp_path / "photos.partial").rmdir()
    (tmp_path / "photos").mkdir()
    assert cli("unpack", shards, "-o", tmp_path / "photos").exit_code == 0
    result = cli("run", shards, "-o", tmp_path / "out", *TINY)
    assert result.exit_code == 2
    assert "protect unpack" in result.stderr

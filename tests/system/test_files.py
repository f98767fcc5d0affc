import errno
import hashlib
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from protect.errors import ExitCode, MachineError
from protect.system.files import (
    is_within,
    real_path,
    remove_stale_temporaries,
    require_writable,
    sha256_of,
    sha256_of_bytes,
    sync_folders,
    write_atomically,
)

LEFTOVER = ".protect-0123456789abcdef.tmp"


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("size", [0, 1, 1 << 18, (1 << 18) + 1])
def test_digests_agree_with_hashlib(tmp_path: Path, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    (tmp_path / "file").write_bytes(data)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(data).hexdigest()
    assert sha256_of_bytes(data) == hashlib.sha256(data).hexdigest()


def test_writes_into_new_folders_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "picture.png"
    write_atomically(path, b"pixels")
    assert path.read_bytes() == b"pixels"
    assert listing(path.parent) == ["picture.png"]


def test_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a longer old content")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_name_of_255_bytes_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".png")
    write_atomically(path, b"pixels")
    assert path.read_bytes() == b"pixels"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask to speak of")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_mode_honours_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    previous = os.umask(umask)
    try:
        write_atomically(tmp_path / "file", b"")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
def test_a_failure_keeps_the_old_content_and_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, failure: BaseException
) -> None:
    def fail(*args: object) -> None:
        assert any(name.startswith(".") and name.endswith(".tmp") for name in listing(tmp_path))
        raise failure

    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises((MachineError, KeyboardInterrupt)):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert listing(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "allow yourself"),
        (errno.EPERM, "allow yourself"),
        (errno.EROFS, "read-only"),
        (errno.ENAMETOOLONG, "shorter"),
        (errno.EMFILE, "--workers"),
        (errno.EIO, "check that disk"),
    ],
)
def test_errors_of_the_system_name_the_path_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, advice: str
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(MachineError) as caught:
        write_atomically(tmp_path / "file", b"data")
    assert caught.value.exit_code is ExitCode.ENVIRONMENT
    assert str(tmp_path / "file") in caught.value.message
    assert os.strerror(code) in caught.value.message
    assert advice in caught.value.hint
    assert "--output" not in caught.value.hint, "not every command has it"


def test_a_parent_that_is_a_file_is_a_machine_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MachineError, match="cannot write"):
        write_atomically(tmp_path / "file" / "picture.png", b"data")


def test_a_folder_in_the_place_of_the_file_is_a_machine_error(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(MachineError, match="cannot write"):
        write_atomically(tmp_path / "file", b"data")
    assert listing(tmp_path) == ["file"]


def test_a_folder_that_cannot_be_synced_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def only_files(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not on this file system")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    write_atomically(tmp_path / "file", b"data")
    assert (tmp_path / "file").read_bytes() == b"data"


@pytest.mark.skipif(sys.platform != "linux", reason="what is synced is read from /proc")
def test_many_files_are_made_lasting_with_every_folder_that_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def note(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append("file" if path.is_file() else path.relative_to(tmp_path).as_posix())

    monkeypatch.setattr(os, "fsync", note)
    root = tmp_path / "out"
    files = [root / name for name in ("cats/1.png", "cats/2.png", "dogs/deep/1.png", "top.png")]
    for path in files:
        write_atomically(path, b"data", is_one_of_many=True)
    assert synced == ["file"] * 4
    sync_folders(files, root)
    assert synced[4:] == [".", "out", "out/cats", "out/dogs", "out/dogs/deep"]


def test_stale_temporaries_go_and_everything_else_stays(tmp_path: Path) -> None:
    below = tmp_path / "cats"
    (below / LEFTOVER.replace("0", "f")).parent.mkdir()
    (below / LEFTOVER).write_bytes(b"half")
    (tmp_path / LEFTOVER).write_bytes(b"half")
    kept = ["x.tmp", ".x.tmp", LEFTOVER + "x", "x" + LEFTOVER, LEFTOVER.replace("0", "")]
    for name in kept:
        (tmp_path / name).write_bytes(b"")
    assert remove_stale_temporaries(tmp_path) == 2
    assert listing(tmp_path) == sorted([*kept, "cats"])
    assert listing(below) == []
    assert remove_stale_temporaries(tmp_path) == 0
    assert remove_stale_temporaries(tmp_path / "absent") == 0


def test_young_temporaries_can_be_spared(tmp_path: Path) -> None:
    """Another process may be writing them; a clock that went back makes none old."""
    ages = {"0": 0.0, "1": 50.0, "2": 70.0, "3": -3600.0}
    for digit, age in ages.items():
        path = tmp_path / LEFTOVER.replace("f", digit)
        path.write_bytes(b"half")
        os.utime(path, (0, time.time() - age))
    assert remove_stale_temporaries(tmp_path, seconds_old=60.0) == 1
    assert listing(tmp_path) == sorted(LEFTOVER.replace("f", digit) for digit in "013")


def test_what_a_killed_write_leaves_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    monkeypatch.setattr(Path, "unlink", lambda *args, **options: None)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"data")
    monkeypatch.undo()
    assert remove_stale_temporaries(tmp_path) == 1
    assert listing(tmp_path) == []


def test_stale_temporaries_behind_links_are_not_ours(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LEFTOVER).write_bytes(b"")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(elsewhere, target_is_directory=True)
    assert remove_stale_temporaries(folder) == 0
    assert listing(elsewhere) == [LEFTOVER]


def test_a_temporary_that_cannot_be_removed_is_a_machine_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(errno.EACCES, "no")

    (tmp_path / LEFTOVER).write_bytes(b"")
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(MachineError, match="cannot remove"):
        remove_stale_temporaries(tmp_path)


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [
        ("a", "a", True),
        ("a/", "a", True),
        ("a/b", "a", True),
        ("a/b/../..", "a", False),
        ("b/../a/c", "a", True),
        ("ab", "a", False),
        ("a", "a/b", False),
        ("absent/x", "absent", True),
        ("link", "a", True),
        ("link/x", "a", True),
        ("a/x", "link", True),
        ("a/out", "a", False),
    ],
)
def test_is_within(tmp_path: Path, path: str, folder: str, expected: bool) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "a" / "out").symlink_to(tmp_path / "b", target_is_directory=True)
    assert is_within(tmp_path / path, tmp_path / folder) is expected


def test_links_in_a_circle_are_a_place_like_any_other(tmp_path: Path) -> None:
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    assert real_path(circle).is_relative_to(real_path(tmp_path))
    assert is_within(circle, tmp_path)
    assert not is_within(tmp_path, circle)


def test_is_within_reads_relative_paths_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_within(Path("x"), tmp_path)
    assert is_within(tmp_path / "x", Path())
    assert not is_within(Path(".."), Path())


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
def test_a_place_that_cannot_be_written_is_found_out(tmp_path, monkeypatch, error):
    require_writable(tmp_path / "new" / "folder", "elsewhere")
    assert not list(tmp_path.iterdir())

    def refuse(**_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(MachineError) as caught:
        require_writable(tmp_path / "new", "elsewhere")
    assert os.strerror(error) in caught.value.message
    assert caught.value.hint == "elsewhere"

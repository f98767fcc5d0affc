"""What the disk, the owner or another process may do to a run: each gets one clear answer."""

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cases.gallery import tree, write
from cases.ran import Ran, run
from helpers import cli

from protect.console import Screen
from protect.errors import MachineError
from protect.events import Event, StageStarted
from protect.output.folder import only_run
from protect.output.state_folder import StateFolder
from protect.system.files import locked

PHOTOS = [f"{label}/{number}.png" for label in ("a", "b") for number in range(3)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write(tmp_path / "photos", *PHOTOS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of these pictures publishes that nothing befalls."""
    root = tmp_path_factory.mktemp("whole")
    return run(write(root / "photos", *PHOTOS), root / "out").out


def mounted(place: Path, options: str) -> None:
    mount = shutil.which("mount")
    if sys.platform != "linux" or os.geteuid() != 0 or mount is None:
        pytest.skip("only root on Linux may mount a small disk")
    place.mkdir()
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"this container may not mount: {made.stderr.decode()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that a run fits on; the test chooses what else lies on it."""
    place = tmp_path / "disk"
    mounted(place, "size=60m")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "frozen"
    mounted(place, "size=300k,ro")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def failed_for_the_machine(ran: Ran, words: str) -> None:
    assert ran.result.exit_code == 3, ran.result.output
    assert words in ran.result.stderr
    assert "hint: " in ran.result.stderr
    assert "Traceback" not in ran.result.output


@pytest.mark.parametrize("left", [0, 8])
@pytest.mark.parametrize("stage", ["Reading", "Optimising", "Writing"])
def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_room(
    small_disk: Path,
    photos: Path,
    whole: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    left: int,
):
    """Whatever does not fit: the decoded pictures, the progress, the journal or a picture."""
    out, ballast = small_disk / "out", small_disk / "ballast"
    listen = Screen.listen

    def fill(screen: Screen, event: Event) -> None:
        if isinstance(event, StageStarted) and event.name.startswith(stage):
            free = shutil.disk_usage(small_disk).free
            ballast.write_bytes(bytes(free - 1024 * left))
        listen(screen, event)

    with monkeypatch.context() as patch:
        patch.setattr(Screen, "listen", fill)
        ran = run(photos, out)
    failed_for_the_machine(ran, str(out))
    assert "No space left on device" in ran.result.stderr
    assert not list(small_disk.rglob("*.tmp"))
    assert not (out / "manifest.json").exists()
    for name in tree(out) if out.exists() else ():
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    ballast.unlink()
    assert run(photos, out, "--resume").result.exit_code == 0
    for name in PHOTOS:
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_a_read_only_disk_is_said(read_only_disk: Path, photos: Path):
    failed_for_the_machine(run(photos, read_only_disk / "out"), "Read-only file system")
    assert list(read_only_disk.iterdir()) == []


# What is closed -> the status, and what is said of it.
CLOSED = {
    "photos": (2, "is not readable"),
    "photos/a": (2, "cannot be read: Permission denied"),
    "photos/a/1.png": (2, "a/1.png: may not be read by this user"),
    "shelf": (3, "Permission denied"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has permissions of another kind")
@pytest.mark.parametrize("place", CLOSED)
def test_what_may_not_be_read_or_written_is_named(tmp_path: Path, photos: Path, place: str):
    status, words = CLOSED[place]
    (tmp_path / "shelf").mkdir()
    closed = tmp_path / place
    mode = closed.stat().st_mode
    closed.chmod(0o500 if place == "shelf" else 0)
    result = bound_by_permissions("run", photos, "-o", tmp_path / "shelf/out")
    closed.chmod(mode)
    assert result.returncode == status, result.stderr
    assert words in result.stderr
    assert str(closed) in result.stderr or place.removeprefix("photos/") in result.stderr
    assert "Traceback" not in result.stderr
    assert not list((tmp_path / "shelf").iterdir())


def bound_by_permissions(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Do a command as a user whom permissions bind."""
    command = [sys.executable, "-m", "protect", *words]
    if os.geteuid() == 0:
        # Without these two powers, permissions bind root as everyone.
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    wide = os.environ | {"COLUMNS": "1000"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=wide)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has permissions of another kind")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_private_state_is_for_its_owner_alone(tmp_path: Path, photos: Path, umask: int):
    before = os.umask(umask)
    try:
        ran = run(photos, tmp_path / "out")
    finally:
        os.umask(before)
    assert ran.result.exit_code == 0, ran.result.stderr
    assert stat.S_IMODE((tmp_path / "out.state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o777 & ~umask


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has permissions of another kind")
def test_it_is_private_as_well_where_verify_makes_it(tmp_path: Path, photos: Path):
    shutil.copytree(photos, tmp_path / "other")
    words = ("--mode", "linear-probe", "--epochs", "1", "--size", "32", "--device", "cpu")
    result = cli("verify", tmp_path / "other", "--clean", photos, *words)
    assert result.exit_code == 1, result.stderr
    assert (tmp_path / "other.state" / "verify").is_dir()
    assert stat.S_IMODE((tmp_path / "other.state").stat().st_mode) == 0o700


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has permissions of another kind")
def test_permissions_that_the_owner_gave_the_private_state_stay(tmp_path: Path, photos: Path):
    (tmp_path / "out.state").mkdir()
    (tmp_path / "out.state").chmod(0o750)
    assert run(photos, tmp_path / "out").result.exit_code == 0
    assert run(photos, tmp_path / "out", "--overwrite").result.exit_code == 0
    assert stat.S_IMODE((tmp_path / "out.state").stat().st_mode) == 0o750


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has permissions of another kind")
@pytest.mark.parametrize(
    "words",
    [
        ("run", "photos", "-o", "out", "--resume"),
        ("run", "photos", "-o", "out", "--extend"),
        ("run", "photos", "-o", "out", "--overwrite"),
        ("run", "photos", "-o", "out", "--dry-run"),
        ("run", "out"),
        ("check", "out"),
        ("verify", "out"),
        ("preview", "out", "-o", "sheet.png"),
    ],
    ids=" ".join,
)
def test_the_private_state_of_another_user_is_named(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
):
    assert run(photos, tmp_path / "out").result.exit_code == 0
    everything = sorted(tmp_path.rglob("*"))
    state = tmp_path / "out.state"
    state.chmod(0)
    monkeypatch.chdir(tmp_path)
    result = bound_by_permissions(*words)
    state.chmod(0o700)
    assert result.returncode == (2 if words == ("run", "out") else 3), result.stderr
    assert "was written by protect" in result.stderr or str(state) in result.stderr
    assert "hint: " in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(tmp_path.rglob("*")) == everything


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has permissions of another kind")
@pytest.mark.parametrize(
    ("closed", "status"), [("data.state", 0), ("data/photos.state", 3), ("data/out.state", 3)]
)
def test_a_private_folder_stops_only_whom_it_concerns(tmp_path: Path, closed: str, status: int):
    """What lies beside a folder above the source may be anybody's."""
    photos = write(tmp_path / "data/photos", *PHOTOS)
    (tmp_path / closed).mkdir()
    (tmp_path / closed).chmod(0)
    words = ("--size", "32", "--rounds", "1", "-b", "4", "--preset", "quick", "--device", "cpu")
    result = bound_by_permissions("run", photos, "-o", tmp_path / "data/out", *words)
    (tmp_path / closed).chmod(0o700)
    assert result.returncode == status, result.stderr
    assert (str(tmp_path / closed) in result.stderr) is (status == 3)
    assert (tmp_path / "data/out").exists() is (status == 0)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has permissions of another kind")
def test_a_private_state_that_is_made_is_for_its_owner_alone(tmp_path: Path):
    state = StateFolder.of(tmp_path / "shelf" / "out")
    state.make()
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
    state.path.chmod(0o750)
    state.make()
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o750
    (tmp_path / "file.state").write_text("")
    with pytest.raises(MachineError, match=r"file\.state"):
        StateFolder.of(tmp_path / "file").make()


@pytest.mark.parametrize("place", ["out", "out.state", "above"])
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path, photos: Path, place: str):
    (tmp_path / place).write_text("mine")
    out = tmp_path / ("above/out" if place == "above" else "out")
    ran = run(photos, out)
    assert ran.result.exit_code in (2, 3)
    assert str(tmp_path / place) in ran.result.stderr
    assert "hint: " in ran.result.stderr
    assert (tmp_path / place).read_text() == "mine"


@pytest.mark.parametrize("place", ["source", "output"])
def test_links_in_a_circle_are_named(tmp_path: Path, photos: Path, place: str):
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    ran = run(circle, tmp_path / "out") if place == "source" else run(photos, circle)
    assert ran.result.exit_code in (2, 3), ran.result.output
    assert "circle" in ran.result.stderr
    assert "symbolic link" in ran.result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="links are for administrators there")
def test_no_picture_that_is_left_out_tells_where_it_lay(tmp_path, photos, monkeypatch):
    """Its name below the source is published, and no more of any path of this machine."""
    for code in (errno.EIO, errno.ELOOP, errno.EISDIR, errno.EACCES, errno.ESTALE):
        shutil.copy(photos / "a/0.png", photos / "a" / f"{code}.jpg")
    (photos / "a" / "loop.jpg").symlink_to("loop.jpg")
    (photos / "a" / "folder.jpg").mkdir()
    opened = Path.open

    def failing(path: Path, *args: object, **options: object):
        if path.suffix == ".jpg":
            code = int(path.stem)
            raise OSError(code, os.strerror(code), str(path))
        return opened(path, *args, **options)

    monkeypatch.setattr(Path, "open", failing)
    ran = run(photos, tmp_path / "out", "--on-error", "skip", "--workers", 1)
    assert ran.result.exit_code == 1, ran.result.output
    assert len(ran.refused) >= 5
    assert str(tmp_path) not in (ran.out / "manifest.json").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_source_whose_path_no_document_can_hold_is_refused(tmp_path: Path):
    photos = write(tmp_path / os.fsdecode(b"caf\xe9") / "photos", *PHOTOS)
    ran = run(photos, tmp_path / "out")
    assert ran.result.exit_code == 2, ran.result.output
    assert r"caf\udce9/photos is not valid UTF-8" in ran.result.stderr
    assert not ran.out.exists()


def test_a_folder_in_the_place_of_a_picture_is_named(tmp_path: Path, photos: Path):
    ran = run(photos, tmp_path / "out")
    (tmp_path / "out/a/0.png").unlink()
    (tmp_path / "out/a/0.png").mkdir()
    again = run(photos, tmp_path / "out", "--resume")
    failed_for_the_machine(again, str(tmp_path / "out/a/0.png"))
    (tmp_path / "out/a/0.png").rmdir()
    assert run(photos, tmp_path / "out", "--resume").result.exit_code == 0
    assert ran.manifest["images"] == json.loads((ran.out / "manifest.json").read_text())["images"]


@pytest.mark.parametrize("change", ["other pixels", "damaged", "touched", "gone", "added"])
def test_pictures_that_changed_between_run_and_resume_are_named(
    tmp_path: Path, photos: Path, change: str
):
    ran = run(photos, tmp_path / "out")
    (ran.out / "manifest.json").unlink()
    (ran.out / "b/2.png").unlink()
    before = {name: (ran.out / name).read_bytes() for name in tree(ran.out)}
    victim = photos / "a/1.png"
    if change == "other pixels":
        shutil.copy(photos / "a/0.png", victim)
    elif change == "damaged":
        victim.write_bytes(victim.read_bytes()[:100])
    elif change == "touched":
        os.utime(victim, (1, 1))
    elif change == "gone":
        victim.unlink()
    else:
        shutil.copy(photos / "a/0.png", photos / "a/9.png")
    flags = ("--on-error", "skip") if change == "damaged" else ()
    again = run(photos, tmp_path / "out", "--resume", *flags)
    if change == "touched":
        assert again.result.exit_code == 0, again.result.stderr
        return
    assert again.result.exit_code == 2
    assert "would mix two runs" in again.result.stderr
    assert "--overwrite" in again.result.stderr
    if change in ("other pixels", "damaged"):
        assert "a/1.png" in again.result.stderr
    assert {name: (ran.out / name).read_bytes() for name in tree(ran.out)} == before
    replaced = run(photos, tmp_path / "out", "--overwrite", *flags)
    assert replaced.result.exit_code == (1 if change == "damaged" else 0)


def test_of_two_runs_on_one_output_one_is_refused(tmp_path: Path, photos: Path):
    """Whether it would begin, resume or overwrite; afterwards there is no trace of the lock."""
    out = tmp_path / "out"
    with only_run(out):
        for flags in ((), ("--resume",), ("--overwrite",)):
            ran = run(photos, out, *flags)
            assert ran.result.exit_code == 2
            assert f"another run is writing to {out} right now" in ran.result.stderr
            assert "-o" in ran.result.stderr
    assert not (tmp_path / "out.state").exists()
    assert run(photos, out).result.exit_code == 0
    assert "lock" not in tree(tmp_path / "out.state")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_lock_goes_with_the_process_that_held_it(tmp_path: Path):
    code = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from protect.system.files import locked\n"
        "with locked(Path(sys.argv[1])) as held:\n"
        "    assert held\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, tmp_path / "lock"], check=False)
    assert killed.returncode == -9
    assert (tmp_path / "lock").exists()
    with locked(tmp_path / "lock") as held:
        assert held
        with locked(tmp_path / "lock") as twice:
            assert not twice
    assert not (tmp_path / "lock").exists()


def test_never_two_hold_a_lock_that_is_made_and_removed_all_the_time(tmp_path: Path):
    holders, most, turns = 0, 0, []

    def compete() -> None:
        nonlocal holders, most
        mine = 0
        while mine < 50:
            with locked(tmp_path / "lock") as held:
                if held:
                    holders += 1
                    most = max(most, holders)
                    mine += 1
                    time.sleep(0)
                    holders -= 1
        turns.append(mine)

    threads = [threading.Thread(target=compete) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert turns == [50] * 4


def test_a_clock_that_goes_back_changes_nothing(
    tmp_path: Path, photos: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
):
    ran = run(photos, tmp_path / "out")
    (ran.out / "manifest.json").unlink()
    (ran.out / "b/2.png").unlink()
    year = 365 * 24 * 3600.0
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 30 * year)
    for path in [*photos.rglob("*.png"), *ran.out.rglob("*.png")]:
        os.utime(path, (real() + year, real() + year))
    assert run(photos, tmp_path / "out", "--resume").result.exit_code == 0
    for name in PHOTOS:
        assert (ran.out / name).read_bytes() == (whole / name).read_bytes()

"""The writing stage in processes: the same bytes as in threads, and a loss that can be mended."""

import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import TINY, cli, write_colours
from pictures import encoded, picture
from PIL import ImageFile

from protect import run
from protect.output import writing
from protect.output.writing import processes_pay, seconds_to_write
from protect.system.processes import Place


def pays(count: int, side: int, workers: int) -> bool:
    reading = SimpleNamespace(n_levels=lambda samples: len(samples) * side * side * 3)
    return processes_pay(range(count), reading, workers)


def test_processes_are_for_what_takes_longer_than_they_do_to_start():
    assert pays(100_000, 32, 2)
    assert pays(20_000, 64, 2)
    assert pays(1_000, 512, 2)
    assert not pays(3_000, 64, 2)
    assert not pays(20_000, 64, 8)
    assert not pays(100, 512, 2)
    assert not pays(10**6, 512, 1)


def test_processes_need_room(monkeypatch):
    monkeypatch.setattr(writing, "working_memory", lambda _: (0, 4 * 10**9))
    assert pays(10**6, 64, 6)
    assert not pays(10**6, 64, 7)
    monkeypatch.setattr(writing, "place", lambda: Place(local_count=2))
    assert pays(10**6, 64, 3)
    assert not pays(10**6, 64, 4)


@pytest.fixture
def in_processes(monkeypatch):
    monkeypatch.setattr(run, "processes_pay", lambda *_: True)


@pytest.fixture(params=[False, True], ids=["threads", "processes"])
def in_either(request, monkeypatch):
    monkeypatch.setattr(run, "processes_pay", lambda *_: request.param)


def published(folder: Path) -> dict[str, bytes]:
    return {path.name + path.parent.name: path.read_bytes() for path in folder.rglob("*.png")}


def images(folder: Path) -> list[dict]:
    return json.loads((folder / "manifest.json").read_text())["images"]


def test_processes_write_what_threads_write_and_know_what_is_written(
    tmp_path, monkeypatch, in_processes
):
    photos = write_colours(tmp_path / "photos", per_class=20)
    words = ("run", photos, *TINY, "-j", 3)
    assert cli(*words, "-o", tmp_path / "helped").exit_code == 0
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "helped").rglob("*.png")}
    assert cli(*words, "-o", tmp_path / "helped", "--resume").exit_code == 0
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert cli("check", tmp_path / "helped").exit_code == 0
    monkeypatch.undo()
    assert cli(*words, "-o", tmp_path / "alone").exit_code == 0
    assert published(tmp_path / "helped") == published(tmp_path / "alone")
    assert images(tmp_path / "helped") == images(tmp_path / "alone")


def test_what_pillow_was_told_holds_in_processes_too(tmp_path, monkeypatch, in_processes):
    photos = write_colours(tmp_path / "photos", per_class=4)
    cut = encoded(picture("RGB", (64, 64)), "JPEG")
    (photos / "red" / "cut.jpg").write_bytes(cut[: len(cut) * 9 // 10])
    words = ("run", photos, "-o", tmp_path / "out", *TINY)
    assert cli(*words).exit_code == 2
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    written = cli(*words)
    assert written.exit_code == 0, written.stderr
    assert len(images(tmp_path / "out")) == 9


def test_a_picture_that_became_unreadable_is_named_wherever_it_is_written(
    tmp_path, monkeypatch, in_either
):
    photos = write_colours(tmp_path / "photos", per_class=4)
    write, intact = writing.write_pictures, (photos / "red" / "2.png").read_bytes()

    def damage_first(*given, **options):
        (photos / "red" / "2.png").write_bytes(b"bad")
        return write(*given, **options)

    monkeypatch.setattr(run, "write_pictures", damage_first)
    failed = cli("run", photos, "-o", tmp_path / "out", *TINY)
    assert failed.exit_code == 2, failed.stderr
    assert f"error: {photos / 'red' / '2.png'} has changed since it was read" in failed.stderr
    assert "--resume" in failed.stderr
    assert "Traceback" not in failed.stderr
    monkeypatch.undo()
    (photos / "red" / "2.png").write_bytes(intact)
    assert cli("run", photos, "-o", tmp_path / "out", *TINY, "--resume").exit_code == 0
    assert len(images(tmp_path / "out")) == 8


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="sends signals")
def test_a_killed_process_ends_the_run_and_it_goes_on(tmp_path, monkeypatch, in_processes):
    photos, out = write_colours(tmp_path / "photos", per_class=20), tmp_path / "out"
    words = ("run", photos, "-o", out, *TINY, "-j", 2)
    workers = writing.Workers

    class Doomed(workers):
        def __call__(self, wish):
            worker = self._free.get()
            self._free.put(worker)
            if wish.sample.name == "red/5.png":
                os.kill(worker.process.pid, signal.SIGKILL)
            return super().__call__(wish)

    monkeypatch.setattr(writing, "Workers", Doomed)
    killed = cli(*words)
    assert killed.exit_code == 3, killed.stderr
    assert "a process that was to help has ended (status -9)" in killed.stderr
    assert "--resume" in killed.stderr
    assert not (out / "manifest.json").exists()
    monkeypatch.undo()
    assert cli(*words, "--resume").exit_code == 0
    assert len(images(out)) == 40
    assert cli("check", out).exit_code == 0


def test_a_slow_first_picture_does_not_count_as_often_as_each_tried_one_stands_for_others(tmp_path):
    class SlowStart:
        folder, calls = tmp_path / "trial", 0

        def publish(self, sample, name):
            self.calls += 1
            time.sleep(0.5 if self.calls == 1 else 0.002)

    reading = SimpleNamespace(samples=range(1_000), n_levels=len)
    # Counted like the others, it would be 125 s.
    assert seconds_to_write(SlowStart(), reading, 1) < 100

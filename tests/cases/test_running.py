"""Cases 53 to 67: long runs, bad files, exit statuses, logs, installing, and the README."""

import multiprocessing
import re
import sys
import tomllib
from pathlib import Path

import click
import pytest
import typer
from cases.gallery import put, write
from cases.ran import Ran, run
from helpers import cli
from pictures import encoded, picture

from protect import RunConfig
from protect.cli.app import app
from protect.data.discover import discover
from protect.data.reading import read_pictures
from protect.evaluation.attacks.registry import ATTACKS
from protect.evaluation.plan import PLAIN
from protect.events import Event

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the memory of its own")
def test_c53_pictures_are_streamed(tmp_path: Path):
    """600 pictures of 200 KB each are decoded without 120 MB of memory for them."""
    for number in range(600):
        image = picture("L", (8, 8), seed=number).resize((260, 260)).convert("RGB")
        put(tmp_path, f"photos/{number % 2}/{number}.bmp", encoded(image, "BMP"))
    used = []

    def listen(_: Event) -> None:
        status = Path("/proc/self/status").read_text()
        used.append(int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) / 1024)

    reading = read_pictures(
        discover(tmp_path / "photos"),
        tmp_path / "pixels.npy",
        size=None,
        accelerated=False,
        at_room=False,
        threads=2,
        max_pixels=1_000_000,
        listener=listen,
    )
    assert len(reading.samples) == len(used) == 600
    assert max(used) - used[0] < 40


def test_c55_one_bad_file_in_fifty_stops_before_compute_or_is_left_out(tmp_path: Path):
    photos = write(tmp_path / "photos", *(f"{n % 2}/{n}.png" for n in range(49)), "0/bad.png")
    (photos / "0/bad.png").write_bytes(b"bad")
    ran = run(photos, tmp_path / "out")
    assert ran.result.exit_code == 2
    assert "0/bad.png: is no picture" in ran.result.stderr
    assert list(tmp_path.iterdir()) == [photos]
    ran = run(photos, tmp_path / "out", "--on-error", "skip")
    assert ran.result.exit_code == 1
    assert len(ran.images) == 49
    assert list(ran.refused) == ["0/bad.png"]


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ((), 2),
        (("notes.txt",), 2),
        (("a/1.png", "b/1.png", "a/bad.png"), 2),
        (("a/bad.png", "b/bad.png"), 2),
        (("a/1.png", "b/bad.png"), 2),
    ],
)
def test_c56_an_empty_or_bad_folder_is_no_success(
    tmp_path: Path, files: tuple[str, ...], status: int
):
    """A good run is 0, one that left pictures out is 1, and a verdict below the threshold is 1."""
    photos = write(tmp_path / "photos", *files)
    photos.mkdir(exist_ok=True)
    for bad in photos.rglob("bad.png"):
        bad.write_bytes(b"")
    ran = run(photos, tmp_path / "out")
    assert ran.result.exit_code == status
    assert "hint: " in ran.result.stderr
    assert not ran.result.stdout


def test_c58_the_processor_is_chosen_where_there_is_nothing_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    photos = write(tmp_path / "photos", "a/1.png", "b/1.png")
    ran = run(photos, tmp_path / "out", "--device", "auto")
    assert ran.result.exit_code == 0, ran.result.stderr
    assert ran.manifest["tool"]["device"] == "cpu"


def test_c59_many_workers_need_no_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """They are threads: a container's 64 MB of /dev/shm cannot run out."""

    def refuse(*_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(multiprocessing.Process, "start", refuse)
    photos = write(tmp_path / "photos", "a/1.png", "b/1.png")
    ran = run(photos, tmp_path / "out", "--workers", "16")
    assert ran.result.exit_code == 0, ran.result.stderr


def test_c64_c67_a_log_has_lines_with_a_measured_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("protect.console.SECONDS_BETWEEN_LINES", 0.0)
    photos = write(tmp_path / "photos", *(f"{n % 2}/{n}.png" for n in range(6)))
    said = run(photos, tmp_path / "out", "--rounds", "3").result.stderr
    assert "\r" not in said
    assert "\x1b" not in said
    assert re.search(r"Reading images: 3/6, about \d+ s left", said)
    assert re.search(r"Optimising noise: 2/3, about \d+ s left, .*bound \d+%", said)
    assert re.search(r"Writing images: 6/6, about 0 s left", said)


@pytest.mark.parametrize("requirement", PROJECT["dependencies"])
def test_c65_dependencies_are_ranges_without_an_upper_end(requirement: str):
    assert re.fullmatch(r"[a-z0-9-]+>=[0-9.]+", requirement)


def test_c65_the_pythons_are_bounded_from_below_only():
    assert re.fullmatch(r">=3\.\d+", PROJECT["requires-python"])
    assert f"Python {PROJECT['requires-python'][2:]} or newer" in README


GROUP = typer.main.get_command(app)
COMMANDS = re.findall(rf"(?m)(?:^ *|`)(protect (?:{'|'.join(GROUP.commands)}) [^`\n]+)", README)


@pytest.mark.parametrize("line", sorted({c for line in COMMANDS for c in line.split(" && ")}))
def test_c66_every_command_of_the_readme_is_one(line: str):
    _, name, *words = line.split()
    parent = GROUP.make_context("protect", [name])
    context = GROUP.commands[name].make_context(name, words, parent=parent)
    assert context.params


def test_c66_every_flag_of_the_readme_exists():
    commands = [GROUP, *GROUP.commands.values()]
    known = {flag for c in commands for p in c.params for flag in (*p.opts, *p.secondary_opts)}
    others = {"--help", "--nproc-per-node"}
    text = re.sub(r"(?m)^.*pip install.*$", "", README)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known | others


def test_c66_every_attack_is_named_in_the_readme():
    (listed,) = re.findall(r"The attacks are\s(.+?)\.", README, re.DOTALL)
    assert re.findall(r"`([^`]+)`", listed) == [name for name in ATTACKS if name != PLAIN]


def test_c63_the_manifest_says_what_computed(good: Ran):
    tool = good.manifest["tool"]
    assert {"torch", "torchvision", "timm", "pillow", "numpy"} <= set(tool["packages"])
    assert tool["device"] == "cpu"
    assert tool["python"] == ".".join(map(str, sys.version_info[:3]))


def test_c67_effort_is_bounded_by_flags(tmp_path: Path):
    """Who has no hours says how many rounds, pictures a step, and pixels."""
    config = RunConfig(source=tmp_path, rounds=2, batch_size=4, size=32)
    assert (config.effort.rounds, config.effort.batch_size) == (2, 4)
    result = cli("run", "--help")
    for flag in ("--rounds", "--batch-size", "--size", "--preset"):
        assert flag in click.unstyle(result.stdout)

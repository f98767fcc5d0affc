"""Costs of whole processes: the memory of a run, and the wait for `--help`."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from costs.clock import in_turns
from costs.figures import Comparison, Goal, Spread

COUNTS = (1_000, 10_000, 70_000)
MEMORY_GOAL = 1.1
STARTUP_GOAL = 0.3
SIDE = 28
CLASSES = 10
SECONDS_BETWEEN_LOOKS = 0.02
COMMAND = (sys.executable, "-m", "protect")


def measure_memory(folder: Path, *, quick: bool) -> Iterator[Comparison]:
    """Compare the peak memory of `protect run` on many pictures with that on few.

    Args:
        folder: Empty; pictures and outputs are made there.
        quick: Whether dozens of pictures do.
    """
    counts = (20, 40) if quick else COUNTS
    options = ["--preset", "quick", "-b", "4"] if quick else []
    fewest: dict[str, int] = {}
    for count in counts:
        photos = make_pictures(folder / f"photos-{count}", count)
        words = ["run", str(photos), "-o", str(folder / f"protected-{count}"), "--quiet"]
        words += ["--rounds", "1", "--size", "32", "--device", "cpu", "--offline", *options]
        for kind, peak in peak_memory(words).items():
            least = fewest.setdefault(kind, peak)
            yield Comparison(
                part="memory",
                what=f"{count:,} pictures: {kind}",
                unit="MB",
                ours=Spread.of([peak / 1000]),
                other_name=f"at {counts[0]:,}",
                other=Spread.of([least / 1000]),
                ratio=Spread.of([peak / least]),
                goal=Goal(of="ratio", at_most=MEMORY_GOAL),
            )


def measure_startup(*, quick: bool) -> Iterator[Comparison]:
    """Time `protect --help`, in turns with a Python that does nothing."""

    def show_help() -> None:
        subprocess.run([*COMMAND, "--help"], check=True, capture_output=True)

    def start_python() -> None:
        subprocess.run([sys.executable, "-c", "pass"], check=True)

    seconds = in_turns(show_help, start_python, 2 if quick else 10)
    for unit, pairs in (
        ("s", [(ours.wall, other.wall) for ours, other in seconds]),
        ("s CPU", [(ours.cpu, other.cpu) for ours, other in seconds]),
    ):
        row = Comparison.of_pairs("startup", "protect --help", unit, pairs, "bare Python")
        yield row.model_copy(update={"goal": Goal(of="ours", at_most=STARTUP_GOAL)})


def make_pictures(folder: Path, count: int) -> Path:
    """Write grey pictures of noise, as many in each of ten classes, and return the folder."""
    rng = np.random.default_rng(0)
    for index in range(count):
        target = folder / f"class{index % CLASSES}" / f"{index:06}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(target)
    return folder


def peak_memory(words: list[str]) -> dict[str, int]:
    """Run `protect` and watch its memory, in thousands of bytes.

    Returns:
        The peaks of all of it, and of what it keeps for itself: without the libraries and the
        decoded pictures, which are files that the system maps and takes back when it needs room.

    Raises:
        CalledProcessError: If the command fails.
    """
    peaks = {"all memory": 0, "without mapped files": 0}
    with subprocess.Popen([*COMMAND, *words], stdout=subprocess.DEVNULL) as child:
        # The system's own record of the peak outlives the peak; that of the parts is not kept.
        while child.poll() is None:
            seen = _memory_of(child.pid)
            for kind, name in zip(peaks, ("VmHWM", "RssAnon"), strict=True):
                peaks[kind] = max(peaks[kind], seen.get(name, 0))
            time.sleep(SECONDS_BETWEEN_LOOKS)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, child.args)
    return peaks


def _memory_of(process: int) -> dict[str, int]:
    """Read what Linux tells of a process; nothing of one that has just ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except ProcessLookupError:
        return {}
    pairs = (line.split(":") for line in lines if line.endswith("kB"))
    kibi = {name: int(value.split()[0]) for name, value in pairs}
    return {name: value * 1024 // 1000 for name, value in kibi.items()}

"""Kill `protect run` or `protect verify` again and again, at random moments, and compare.

    python tests/faults/kills.py run --kills 200 --seed 1
    python tests/faults/kills.py verify --kills 50 --seed 1

Each round starts the command on a small folder, kills it (SIGKILL) in one of its stages, looks at
what lies on disk, starts it again, is killed again now and then, and lets it finish. Prints one
JSON document; exits with 1 if anything was wrong.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from faults.processes import Process, files_of, stage_seconds
from PIL import Image

from protect.config.choices import Preset
from protect.config.settings import EFFORTS
from protect.evaluation.journal import ABANDONED_SECONDS

FLAGS = ("--size", "32", "-b", "4", "--device", "cpu")
RUN_FLAGS = (*FLAGS, "--rounds", "4", "--preset", "quick", "--seed", "0")
VERIFY_FLAGS = (*FLAGS, "--epochs", "2", "--json")
PICTURES_PER_CLASS = 12
STATE_FILES = {"run.json", "journal.jsonl", "progress.safetensors", "patterns.safetensors"}


def write_pictures(folder: Path) -> None:
    draws = np.random.default_rng(0)
    for label in ("cats", "dogs"):
        (folder / label).mkdir(parents=True)
        for number in range(PICTURES_PER_CLASS):
            pixels = draws.integers(0, 256, (48, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")


def state_of(output: Path) -> Path:
    return output.with_name(output.name + ".state")


def is_temporary(name: str) -> bool:
    """Whether the next command clears it away."""
    return ".protect-" in name


def differing(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    return sorted(
        name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)
    )


class Victim(ABC):
    """A command that is killed, and what must hold of it.

    Args:
        root: A folder of its own.
    """

    again: tuple[str, ...] = ()
    """Flags that a killed command is repeated with."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @abstractmethod
    def prepare(self, output: Path) -> tuple[object, ...]:
        """Lay out what a round begins with, and return the command."""

    @abstractmethod
    def remember(self, output: Path, process: Process) -> None:
        """Note what an uninterrupted command gave."""

    @abstractmethod
    def after_a_kill(self, output: Path) -> list[str]:
        """Say what is wrong on disk now."""

    @abstractmethod
    def after_the_end(self, output: Path, process: Process, status: int) -> list[str]:
        """Say how the result differs from that of an uninterrupted command."""


class Run(Victim):
    """`protect run`: resumed, it publishes the same bytes."""

    again = ("--resume",)

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        write_pictures(root / "photos")
        # Progress is saved after every round, so that it can be cut.
        import protect.generation

        protect.generation.CHECKPOINT_SECONDS = 0.0
        EFFORTS[Preset.QUICK] = EFFORTS[Preset.QUICK].model_copy(update={"outer_steps": 2})

    def prepare(self, output: Path) -> tuple[object, ...]:
        return ("run", self.root / "photos", "-o", output, *RUN_FLAGS)

    def remember(self, output: Path, process: Process) -> None:
        self.whole = self.published(output)

    def after_a_kill(self, output: Path) -> list[str]:
        return [
            f"{name} is half-written"
            for name, data in files_of(output).items()
            if name != "manifest.json" and self.whole.get(name) != data and not is_temporary(name)
        ]

    def after_the_end(self, output: Path, process: Process, status: int) -> list[str]:
        if status != 0:
            return [f"the resumed run failed: {process.log.decode()}"]
        other = differing(self.published(output), self.whole)
        left = sorted(files_of(state_of(output)).keys() - STATE_FILES)
        return [f"{name} is not as an uninterrupted run leaves it" for name in other] + [
            f"{name} is left in the state" for name in left
        ]

    @staticmethod
    def published(output: Path) -> dict[str, bytes]:
        """Return every file; of the manifest all but its timings, which differ from run to run."""
        files = files_of(output)
        manifest = json.loads(files["manifest.json"])
        del manifest["timing"]
        return files | {"manifest.json": json.dumps(manifest).encode()}


class Verify(Victim):
    """`protect verify`: repeated, it gives the same cells, and never touches what it verifies."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        run = Process(*Run(root).prepare(root / "protected"))
        assert run.end() == 0, run.log.decode()
        self.protected = files_of(root / "protected")
        self.state = files_of(state_of(root / "protected"))
        # For decoded pictures, in forks as well.
        self.scratch = root / "scratch"
        self.scratch.mkdir()
        tempfile.tempdir = str(self.scratch)

    def prepare(self, output: Path) -> tuple[object, ...]:
        shutil.copytree(self.root / "protected", output)
        shutil.copytree(state_of(self.root / "protected"), state_of(output))
        files = ("--report", output.with_suffix(".html"), "--junit", output.with_suffix(".xml"))
        return ("verify", output, *files, *VERIFY_FLAGS)

    def remember(self, output: Path, process: Process) -> None:
        self.cells = self.cells_of(process)
        self.results = self.results_of(output)

    def after_a_kill(self, output: Path) -> list[str]:
        problems = [f"{name} was touched" for name in differing(files_of(output), self.protected)]
        for name, data in self.results_of(output).items():
            if is_temporary(name):
                # The next command takes it for one of a killed process, not of a living one.
                long_ago = time.time() - 2 * ABANDONED_SECONDS
                os.utime(state_of(output) / "verify" / name, (long_ago, long_ago))
            elif data != self.results.get(name):
                problems.append(f"the result {name} is half-written")
        return problems + self.broken_reports(output)

    def after_the_end(self, output: Path, process: Process, status: int) -> list[str]:
        if status not in (0, 1):
            return [f"the repeated verification failed: {process.log.decode()}"]
        problems = self.after_a_kill(output)
        if self.cells_of(process) != self.cells:
            problems.append(f"other cells than without a kill: {process.log.decode()}")
        if self.results_of(output) != self.results:
            problems.append(f"other results are kept: {sorted(self.results_of(output))}")
        state = {n: d for n, d in files_of(state_of(output)).items() if not n.startswith("verify/")}
        problems += [f"{name} of the state was touched" for name in differing(state, self.state)]
        problems += [f"{path} is left" for path in self.scratch.iterdir()]
        for suffix in (".html", ".xml"):
            if not output.with_suffix(suffix).is_file():
                problems.append(f"no {suffix} was written")
            output.with_suffix(suffix).unlink(missing_ok=True)
        return problems

    @staticmethod
    def cells_of(process: Process) -> list[dict[str, Any]]:
        """Return the cells of the report, without the seconds that they took."""
        log = process.log.decode()
        report = json.loads(log[log.index("\n{") :])
        return [{k: v for k, v in cell.items() if k != "seconds"} for cell in report["cells"]]

    @staticmethod
    def results_of(output: Path) -> dict[str, Any]:
        """Return the kept trainings, without their seconds; of one that is cut short its text."""
        found: dict[str, Any] = {}
        for name, data in files_of(state_of(output) / "verify").items():
            try:
                found[name] = json.loads(data)
                del found[name]["result"]["seconds"]
            except ValueError:
                found[name] = data
        return found

    @staticmethod
    def broken_reports(output: Path) -> list[str]:
        page, junit = output.with_suffix(".html"), output.with_suffix(".xml")
        problems = []
        if page.is_file() and not page.read_text("utf-8").rstrip().endswith("</html>"):
            problems.append("the page is half-written")
        if junit.is_file():
            try:
                ElementTree.fromstring(junit.read_bytes())
            except ElementTree.ParseError:
                problems.append("the JUnit file is half-written")
        return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("run", "verify"))
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    draws = random.Random(wanted.seed)
    begun = time.monotonic()

    root = Path(tempfile.mkdtemp(prefix="protect-kills-"))
    victim = {"run": Run, "verify": Verify}[wanted.command](root)
    start = time.monotonic()
    first = Process(*victim.prepare(root / "whole"))
    assert first.end() in (0, 1), first.log.decode()
    lengths = stage_seconds(first.log, time.monotonic() - start)
    victim.remember(root / "whole", first)

    killed, problems, rounds, finished_first = Counter(), [], 0, 0
    while sum(killed.values()) < wanted.kills:
        rounds += 1
        output = root / f"round-{rounds}"
        words = victim.prepare(output)
        found: list[str] = []
        for _ in range(draws.randint(1, 4)):
            stage = draws.choice(list(lengths))
            if Process(*words).kill_in(stage, draws.uniform(0, lengths[stage])):
                killed[stage] += 1
            else:
                finished_first += 1
            found += victim.after_a_kill(output)
            words = (*words, *victim.again)
        last = Process(*words)
        found += victim.after_the_end(output, last, last.end())
        problems += [f"round {rounds}: {problem}" for problem in found]
        for folder in (output, state_of(output)):
            shutil.rmtree(folder, ignore_errors=True)
        sys.stderr.write(f"{sum(killed.values())} kills, {len(problems)} problems\n")
    shutil.rmtree(root)
    document = {
        "command": wanted.command,
        "kills": sum(killed.values()),
        "by_stage": dict(sorted(killed.items())),
        "rounds": rounds,
        "finished_before_the_kill": finished_first,
        "seconds": round(time.monotonic() - begun, 1),
        "problems": problems,
    }
    print(json.dumps(document, indent=1))  # noqa: T201
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

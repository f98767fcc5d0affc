"""Kill `protect run` again and again, at random moments, and compare what comes of it.

    python tests/faults/kills.py --kills 200 --seed 1

Each round starts a run of a small folder, kills it (SIGKILL) in one of its stages, looks at what
lies on disk, resumes, is killed again now and then, and lets it finish. Prints one JSON document;
exits with 1 if anything was wrong. The processes are forks of one that has imported everything, as
starting Python takes far longer than a run.
"""

import argparse
import io
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from protect.cli.app import app
from protect.config import EFFORTS, Preset

STAGES = ("start", "Reading images", "Optimising noise", "Writing images")
FLAGS = ("--size", "32", "--rounds", "4", "-b", "4", "--preset", "quick", "--device", "cpu")
PICTURES_PER_CLASS = 12
PATIENCE = 300.0


def write_pictures(folder: Path) -> None:
    draws = np.random.default_rng(0)
    for label in ("cats", "dogs"):
        (folder / label).mkdir(parents=True)
        for number in range(PICTURES_PER_CLASS):
            pixels = draws.integers(0, 256, (48, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")


class Process:
    """A fork that runs the command line; its messages tell which stage it is in."""

    def __init__(self, *words: str) -> None:
        self.log = b""
        self.messages, theirs = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                for descriptor in (1, 2):
                    os.dup2(theirs, descriptor)
                sys.stdout = io.TextIOWrapper(io.FileIO(1, "w"), write_through=True)
                sys.stderr = io.TextIOWrapper(io.FileIO(2, "w"), write_through=True)
                app(words, standalone_mode=False)
                status = 0
            except SystemExit as error:
                status = int(error.code or 0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(theirs)

    def read(self, seconds: float) -> bool:
        """Read for some time; return whether there is more to come."""
        if not select.select([self.messages], [], [], seconds)[0]:
            return True
        data = os.read(self.messages, 1 << 16)
        self.log += data
        return bool(data)

    def wait_for(self, words: str) -> bool:
        """Wait until it says so; return False if it ended before."""
        end = time.monotonic() + PATIENCE
        while words.encode() not in self.log:
            if not self.read(0.05):
                return False
            assert time.monotonic() < end, self.log.decode()
        return True

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.end()

    def end(self) -> int:
        while self.read(PATIENCE):
            pass
        os.close(self.messages)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def published(folder: Path) -> dict[str, bytes]:
    """Return every file; of the manifest all but its timings, which differ from run to run."""
    files = files_of(folder)
    manifest = json.loads(files["manifest.json"])
    del manifest["timing"]
    return files | {"manifest.json": json.dumps(manifest).encode()}


def half_written(output: Path, whole: dict[str, bytes]) -> list[str]:
    """Name the files that are neither whole nor a temporary that the next run clears away."""
    return [
        name
        for name, data in files_of(output).items()
        if name != "manifest.json" and whole.get(name) != data and ".protect-" not in name
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    draws = random.Random(wanted.seed)

    # Imported once, before the forks; progress is saved after every round, so that it can be cut.
    import protect.run

    protect.run.CHECKPOINT_SECONDS = 0.0
    EFFORTS[Preset.QUICK] = EFFORTS[Preset.QUICK].model_copy(update={"outer_steps": 2})

    root = Path(tempfile.mkdtemp(prefix="protect-kills-"))
    photos = root / "photos"
    write_pictures(photos)
    start = time.monotonic()
    first = Process("run", str(photos), "-o", str(root / "whole"), *FLAGS)
    assert first.end() == 0, first.log.decode()
    takes = time.monotonic() - start
    whole = published(root / "whole")
    timing = json.loads((root / "whole" / "manifest.json").read_bytes())["timing"]
    lengths = {
        "Reading images": timing["read"],
        "Optimising noise": timing["optimise"],
        "Writing images": timing["write"],
    }
    lengths["start"] = max(0.05, takes - sum(lengths.values()))

    killed, problems, rounds, finished_first = Counter(), [], 0, 0
    while sum(killed.values()) < wanted.kills:
        rounds += 1
        output = root / f"round-{rounds}"
        words = ("run", str(photos), "-o", str(output), *FLAGS)
        flags: tuple[str, ...] = ()
        for _ in range(draws.randint(1, 4)):
            stage = draws.choice(STAGES)
            moment = draws.uniform(0, lengths[stage])
            process = Process(*words, *flags)
            if stage != "start" and not process.wait_for(f"{stage}: "):
                process.end()
                finished_first += 1
            else:
                time.sleep(moment)
                process.kill()
                killed[stage] += 1
            flags = ("--resume",)
            problems += [
                f"round {rounds}: {n} is half-written" for n in half_written(output, whole)
            ]
        last = Process(*words, *flags)
        if last.end() != 0:
            problems.append(f"round {rounds}: the resumed run failed: {last.log.decode()}")
        elif published(output) != whole:
            other = sorted(
                name
                for name in published(output).keys() | whole.keys()
                if published(output).get(name) != whole.get(name)
            )
            problems.append(f"round {rounds}: other bytes than an uninterrupted run: {other}")
        state = output.with_name(output.name + ".state")
        left = set(files_of(state)) - {
            "run.json",
            "journal.jsonl",
            "progress.safetensors",
            "patterns.safetensors",
        }
        problems += [f"round {rounds}: {name} is left in the state" for name in sorted(left)]
        for folder in (output, state):
            shutil.rmtree(folder, ignore_errors=True)
        sys.stderr.write(f"{sum(killed.values())} kills, {len(problems)} problems\n")
    shutil.rmtree(root)
    document = {
        "kills": sum(killed.values()),
        "by_stage": dict(sorted(killed.items())),
        "rounds": rounds,
        "finished_before_the_kill": finished_first,
        "seconds": round(time.monotonic() - start, 1),
        "problems": problems,
    }
    print(json.dumps(document, indent=1))  # noqa: T201
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

"""`torchrun -m protect run`: several processes write what one would, or end with one message."""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import cli, seed_of, small_network, write_colours
from PIL import Image
from safetensors.torch import load_file
from together import torchrun

from protect import generation
from protect.bait.engine import Engine
from protect.config.choices import Preset
from protect.config.settings import EFFORTS

PATIENCE = 240.0


@pytest.fixture
def flags(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    network = small_network(tmp_path_factory.mktemp("weights"))
    return (*network, "--size", "32", "-b", "9", "--device", "cpu", "-j", "1")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_colours(tmp_path / "photos", per_class=6)


def noise(output: Path) -> torch.Tensor:
    return load_file(f"{output}.state/patterns.safetensors")["noise"]


def published(output: Path) -> dict[str, np.ndarray]:
    return {
        path.relative_to(output).as_posix(): np.asarray(Image.open(path)).astype(int)
        for path in sorted(output.rglob("*.png"))
    }


def manifest(output: Path) -> dict:
    return json.loads((output / "manifest.json").read_text())


def test_two_processes_make_what_one_makes(tmp_path, photos, flags):
    one, two = tmp_path / "one", tmp_path / "two"
    run = ("run", photos, "--rounds", "1", *flags)
    both = torchrun(2, *run, "-o", two, "--json")
    stdout, stderr = both.communicate(timeout=PATIENCE)
    assert both.returncode == 0, stderr
    # Only one of them speaks.
    assert json.loads(stdout) == manifest(two)
    assert stderr.count("Optimising noise: done") == 1
    assert cli(*run, "-o", one, "--seed", seed_of(two)).exit_code == 0

    # In levels, of up to 8, after 12 steps: what is rounded differently grows with every step.
    differing = (noise(one) - noise(two)).abs()
    assert differing.max() < 0.5
    assert differing.mean() < 0.02 < 1 < noise(one).abs().mean()
    alone, shared = published(one), published(two)
    assert alone.keys() == shared.keys()
    changed = [abs(alone[name] - shared[name]) for name in alone]
    assert max(map(np.max, changed)) <= 1
    assert np.mean(changed) < 0.02
    left, right = manifest(one), manifest(two)
    assert (left["processes"], right["processes"]) == (1, 2)
    assert left["target_mapping"] == right["target_mapping"]
    assert [i["source"] for i in left["images"]] == [i["source"] for i in right["images"]]
    assert cli("check", two).exit_code == 0

    # Each has a journal of the half that it wrote; one process goes on with both.
    state = Path(f"{two}.state")
    written = [
        [json.loads(line)["source"] for line in path.read_text().split()]
        for path in (state / "journal.jsonl", state / "journal-1.jsonl")
    ]
    order = [image["source"] for image in right["images"]]
    assert [sorted(part) for part in written] == [order[0::2], order[1::2]]
    before = {path: path.read_bytes() for path in two.rglob("*.png")}
    times = {path: path.stat().st_mtime_ns for path in before}
    (two / order[0]).unlink()
    (two / order[1]).unlink()
    (two / "manifest.json").unlink()
    assert cli(*run, "-o", two, "--resume").exit_code == 0
    assert {path: path.read_bytes() for path in two.rglob("*.png")} == before
    again = [name for name in order if (two / name).stat().st_mtime_ns != times[two / name]]
    assert again == order[:2]


def of_rank(rank: int, launcher: int) -> int | None:
    """Return the process that torchrun started as `rank`."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = re.search(r"^PPid:\t(\d+)", (folder / "status").read_text(), re.M)
            facts = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if parent and int(parent[1]) == launcher and f"RANK={rank}".encode() in facts:
            return int(folder.name)
    return None


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_run_and_it_goes_on_with_another_number(
    tmp_path, photos, flags, victim
):
    out = tmp_path / "out"
    run = ("run", photos, "-o", out, "--rounds", "4", *flags)
    both = torchrun(2, *run)
    assert both.stderr is not None
    said = ""
    while "Optimising noise" not in said:
        line = both.stderr.readline()
        assert line, said
        said += line
    process = of_rank(victim, both.pid)
    assert process is not None
    os.kill(process, signal.SIGKILL)
    start = time.monotonic()
    _, rest = both.communicate(timeout=PATIENCE)
    assert time.monotonic() - start < 60
    assert both.returncode == 1
    assert "Signal 9 (SIGKILL)" in rest
    assert not (out / "manifest.json").exists()
    resumed = cli(*run, "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    assert len(manifest(out)["images"]) == 12
    assert not list(tmp_path.rglob("*.tmp"))
    assert not Path(f"{out}.state", "pixels.npy").exists()


def test_a_batch_size_that_one_process_found_holds_for_several(tmp_path, photos, monkeypatch):
    out = tmp_path / "out"
    network = small_network(tmp_path)
    fast = ("--size", "32", "--preset", "quick", "--rounds", "2", "--device", "cpu", "-j", "1")
    words = ("run", photos, "-o", out, *network, *fast, "-b", "auto")
    advance = Engine.advance

    def interrupted(engine: Engine):
        if engine.round == 1:
            raise KeyboardInterrupt
        return advance(engine)

    with monkeypatch.context() as patch:
        patch.setattr(generation, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(Engine, "advance", interrupted)
        assert cli(*words).exit_code == 130
    both = torchrun(2, *words, "--resume")
    _, stderr = both.communicate(timeout=PATIENCE)
    assert both.returncode == 0, stderr
    assert "--batch-size auto" not in stderr
    effort = manifest(out)["config"]["effort"]
    assert effort["batch_size"] == EFFORTS[Preset.QUICK].batch_size
    assert manifest(out)["processes"] == 2


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("run", "{photos}"), 2, "1 pictures cannot be protected"),
        (("run", "{photos}", "-b", "2", "--on-error", "skip"), 2, "none for some of 3 processes"),
        (("run", "{photos}", "-b", "auto"), 2, "--batch-size auto works in one process"),
        (("run", "{photos}", "--eps", "8"), 2, "did you mean --eps 8/255?"),
        (("run", "{photos}", "--device", "cuda"), 3, "use --device cpu"),
        (("verify", "{photos}"), 2, "--shard I/N"),
    ],
)
def test_what_cannot_be_done_is_said_once(tmp_path, photos, flags, words, status, said):
    (photos / "red" / "bad.png").write_bytes(b"bad")
    command = [word.format(photos=photos) for word in words]
    if words[0] == "run":
        command[2:2] = ["-o", str(tmp_path / "out"), *flags]
    three = torchrun(3, *command)
    stdout, stderr = three.communicate(timeout=PATIENCE)
    assert three.returncode == 1
    assert stdout == ""
    assert stderr.count("error: ") == 1, stderr
    assert said in stderr
    # In torchrun's own report of the first process to fail.
    assert re.search(rf"exitcode *: {status} ", stderr.partition("Root Cause")[2]), stderr
    assert "a defect of protect" not in stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.state").exists()

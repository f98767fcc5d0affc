"""`protect run --time-budget`, and memory that runs out or is asked before: said in time."""

import json
import re
import subprocess
import sys
import time

import pytest
from helpers import cli, files_of, small_network, write_colours

from protect import generation
from protect.bait import batches
from protect.bait.engine import Engine
from protect.bait.pace import Pace

SMALL = ("--size", "32", "-b", "4", "--preset", "quick", "--device", "cpu", "--seed", "0")


def test_a_time_that_is_too_short_names_the_least_which_works_and_can_be_made_again(
    tmp_path, tmp_path_factory
):
    photos, out = write_colours(tmp_path / "photos", per_class=3), tmp_path / "out"
    flags = (*small_network(tmp_path_factory.mktemp("weights")), *SMALL)
    short = cli("run", photos, "-o", out, *flags, "--time-budget", "1s")
    assert short.exit_code == 2, short.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]
    least = re.search(r"at least --time-budget (\d+)s", short.stderr)[1]

    budget = 3 * int(least)
    start = time.monotonic()
    done = cli("run", photos, "-o", out, *flags, "--time-budget", f"{budget}s")
    assert done.exit_code == 0, done.stderr
    assert time.monotonic() - start < 1.1 * budget + 2  # the last round and a busy machine
    manifest = json.loads((out / "manifest.json").read_text())
    rounds = manifest["config"]["effort"]["rounds"]
    slower = any("slower" in note for note in manifest["notes"])
    assert rounds == len(manifest["bound"])
    assert slower or rounds >= 10
    assert f"--time-budget {budget}s: " in done.stderr
    again = cli("run", photos, "-o", tmp_path / "again", *flags, "--rounds", rounds)
    assert again.exit_code == 0
    # Not where this machine became slower meanwhile, which is said.
    assert slower or files_of(out) == files_of(tmp_path / "again")
    resumed = cli("run", photos, "-o", out, *flags, "--time-budget", f"{budget}s", "--resume")
    assert resumed.exit_code == 0
    assert "planned" not in resumed.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="other systems limit no address space")
def test_memory_that_runs_out_names_the_batch_to_try_and_changes_nothing(tmp_path):
    photos = write_colours(tmp_path / "photos", per_class=3)
    code = """
import re, resource, sys
from pathlib import Path
import protect.run
from protect.cli.app import app
used = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 600 * 2**20,) * 2)
app(sys.argv[1:])
"""
    words = ("run", photos, "-o", tmp_path / "out", *SMALL, "--rounds", "1", "-b", "4096")
    ran = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 3, ran.stderr
    assert "out of memory with 4096 pictures a step" in ran.stderr
    assert "try --batch-size 2048" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(("free", "expected"), [(2**40, 64), (1, 16)])
def test_a_batch_size_that_is_found_is_said_and_recorded_and_makes_the_same_noise(
    tmp_path, tmp_path_factory, monkeypatch, free, expected
):
    monkeypatch.setattr(batches, "working_memory", lambda _: (0, free))
    monkeypatch.setattr(batches, "peak_working_memory", lambda _: 2**20)
    photos, out = write_colours(tmp_path / "photos", per_class=3), tmp_path / "out"
    network = small_network(tmp_path_factory.mktemp("weights"))
    flags = ("--size", "32", "--preset", "quick", "--rounds", "2", "--device", "cpu", "--seed", "0")
    flags += network
    foretold = cli("run", photos, "-o", out, *flags, "-b", "auto", "--dry-run")
    assert foretold.exit_code == 0, foretold.stderr
    done = cli("run", photos, "-o", out, *flags, "-b", "auto")
    assert done.exit_code == 0, done.stderr
    wanted = "" if expected == 64 else ", as memory has no room for the 64 that it wants"
    for said in (foretold.stderr, done.stderr):
        assert f"--batch-size auto: {expected} pictures a step{wanted}\n" in said
    config = json.loads((out / "manifest.json").read_text())["config"]
    assert (config["batch_size"], config["effort"]["batch_size"]) == ("auto", expected)
    assert cli("run", photos, "-o", tmp_path / "again", *flags, "-b", expected).exit_code == 0
    assert files_of(out) == files_of(tmp_path / "again")


def once_only(advance):
    """Return a round that is interrupted from the run's second on; tries of few steps are none."""

    def interrupted(engine: Engine):
        if engine.round == 1:
            raise KeyboardInterrupt
        return advance(engine)

    return interrupted


def test_an_interrupted_run_keeps_to_the_batch_size_that_was_found(
    tmp_path, tmp_path_factory, monkeypatch
):
    photos, out = write_colours(tmp_path / "photos", per_class=3), tmp_path / "out"
    network = small_network(tmp_path_factory.mktemp("weights"))
    flags = ("--size", "32", "--preset", "quick", "--rounds", "3", "--device", "cpu", *network)
    monkeypatch.setattr(batches, "working_memory", lambda _: (0, 1))
    monkeypatch.setattr(batches, "peak_working_memory", lambda _: 2**20)
    monkeypatch.setattr(generation, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(Engine, "advance", once_only(Engine.advance))
    assert cli("run", photos, "-o", out, *flags, "-b", "auto").exit_code == 130
    monkeypatch.undo()
    resumed = cli("run", photos, "-o", out, *flags, "-b", "auto", "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    assert "--batch-size auto" not in resumed.stderr
    assert json.loads((out / "manifest.json").read_text())["config"]["effort"]["batch_size"] == 16


def test_a_system_that_does_not_tell_of_its_memory_is_asked_before_anything_is_read(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(batches, "working_memory", lambda _: None)
    photos = write_colours(tmp_path / "photos", per_class=3)
    for words in ((), ("--dry-run",)):
        refused = cli("run", photos, "-o", tmp_path / "out", "-b", "auto", *words)
        assert refused.exit_code == 2
        assert "give a number" in refused.stderr
        assert "Reading" not in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_that_the_machine_became_slower_is_told_though_the_run_was_cut_off(
    tmp_path, tmp_path_factory, monkeypatch
):
    """The number of rounds alone does not make that noise again, so the manifest must say so."""
    photos, out = write_colours(tmp_path / "photos", per_class=3), tmp_path / "out"
    flags = (*small_network(tmp_path_factory.mktemp("weights")), *SMALL, "--time-budget", "1h")

    def slower(pace: Pace, engine: Engine) -> str:
        engine.plan(12)
        return "the machine has become slower" if engine.round == 11 else ""

    def cut_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Pace, "keep", slower)
        patched.setattr("protect.run.write_pictures", cut_off)
        ran = cli("run", photos, "-o", out, *flags)
        assert ran.exit_code == 130, ran.stderr
        assert "warning: the machine has become slower" in ran.stderr
    assert cli("run", photos, "-o", out, *flags, "--resume").exit_code == 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["notes"] == ["the machine has become slower"]
    assert len(manifest["bound"]) == 12

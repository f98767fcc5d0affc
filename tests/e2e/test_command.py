"""The command as a shell meets it: exit statuses, streams, start-up."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import FAST, cli

from protect import RunConfig, __version__
from protect.events import Listener, PartStarted


def shell(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `protect WORDS` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "protect", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


def test_the_two_commands_work_as_typed(done):
    """`protect run ./photos --eps 8/255`, then `protect verify ./protected`, with nothing else."""
    for name in ("protected", "protected.state"):
        (done.root / name).rename(done.root / f"old-{name}")
    effort = ("--rounds", "2", "-b", "8", "--size", "32")
    run = shell("run", "./photos", "--eps", "8/255", *effort, cwd=done.root)
    assert run.returncode == 0, run.stderr
    assert "protect verify protected" in run.stderr
    assert (done.root / "protected" / "manifest.json").is_file()
    check = shell("check", "./protected", cwd=done.root)
    assert check.returncode == 0, check.stdout
    verify = shell("verify", "./protected", "--epochs", "1", "--json", cwd=done.root)
    assert verify.returncode in (0, 1), verify.stderr
    assert json.loads(verify.stdout)["verdict"] in ("pass", "fail", "inconclusive")


def test_c64_results_go_to_stdout_as_one_document_and_the_rest_to_stderr(done):
    result = shell("run", done.photos, "-o", done.root / "json", *FAST, "--json")
    assert json.loads(result.stdout)["images"]
    assert "Optimising noise" in result.stderr
    assert "\x1b" not in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
@pytest.mark.parametrize("words", [("check", "--json"), ("check",), ("backbones", "--json")])
def test_a_result_that_cannot_be_written_exits_with_3(done, words):
    where = [] if words[0] == "backbones" else [done.protected]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "protect", words[0], *where, *words[1:]],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.returncode == 3, result.stderr
    assert "standard output" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Exception" not in result.stderr


def test_quiet_says_nothing_but_the_result(done):
    result = shell("check", done.protected, "-q")
    assert result.stderr == ""
    assert "intact" in result.stdout


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--version",), 0, __version__),
        (("--help",), 0, "verify"),
        ((), 2, "Usage"),
        (("run",), 2, "Missing argument"),
        (("run", "x", "--eps", "8"), 2, "did you mean --eps 8/255?"),
        (("run", "x", "--eps", "8/0"), 2, "not a number"),
        (("run", "x", "--resume", "--overwrite"), 2, "exclude each other"),
        (("run", "x", "--weights", "file.pth"), 2, "names no backbone"),
        (("run", "x", "--weights", "vit_b_16=w.pth"), 2, "not used"),
        (("run", "x", "--rounds", "0"), 2, "rounds"),
        (("run", "/nowhere"), 2, "/nowhere"),
        (("verify", "/nowhere"), 2, "/nowhere"),
        (("check", "/nowhere"), 2, "/nowhere"),
        (("run", "x", "--device", "tpu"), 2, "device"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_c56_bad_flags_and_folders_give_one_clear_error(words, status, said):
    result = cli(*words)
    assert result.exit_code == status
    assert said in result.output + result.stderr
    assert "Traceback" not in result.output + result.stderr


def test_c58_a_device_that_is_not_here_exits_with_3(done):
    result = cli("run", done.photos, "-o", done.root / "x", "--device", "cuda:9")
    assert result.exit_code == 3
    assert "--device cpu" in result.stderr


def test_a_defect_exits_with_70_and_without_a_traceback(done, monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a planted defect")

    monkeypatch.setattr("protect.check.check_folder", broken)
    result = cli("check", done.protected)
    assert result.exit_code == 70
    assert "a planted defect" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(28, "No space left on device", "/x"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't "
            "allocate memory: you tried to allocate 8000000000000 bytes."
        ),
    ],
)
def test_a_machine_that_runs_out_exits_with_3(done, monkeypatch, error):
    def exhausted(*_: object) -> None:
        raise error

    monkeypatch.setattr("protect.check.check_folder", exhausted)
    assert cli("check", done.protected).exit_code == 3


@pytest.mark.parametrize(("part", "has_begun"), [(1, False), (2, True), (3, True)])
def test_ctrl_c_exits_with_130_and_says_how_to_go_on(done, monkeypatch, part, has_begun):
    def interrupted(_: RunConfig, listener: Listener) -> None:
        listener(PartStarted(part, 3))
        raise KeyboardInterrupt

    monkeypatch.setattr("protect.run.protect_folder", interrupted)
    result = cli("run", done.photos, "-o", done.root / "x")
    assert result.exit_code == 130
    assert ("--resume" in result.stderr) is has_begun
    assert ("what was finished is kept" in result.stderr) is has_begun


@pytest.mark.parametrize(
    ("words", "recipe", "kept"),
    [
        (("run", "{photos}", "-o", "{root}/x"), "protect.run.protect_folder", False),
        (("run", "{photos}", "-o", "{root}/x", "--extend"), "protect.run.protect_folder", True),
        (
            ("run", "{photos}", "-o", "{root}/x", "--dry-run"),
            "protect.dry_run.dry_run_folder",
            False,
        ),
        (("verify", "{protected}"), "protect.verify.verify_folder", True),
        (("check", "{protected}"), "protect.check.check_folder", False),
        (("unpack", "{root}/a.tar", "-o", "{root}/x"), "protect.data.tars.find_shards", False),
    ],
)
def test_ctrl_c_says_that_something_is_kept_where_it_is(done, monkeypatch, words, recipe, kept):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe, interrupted)
    result = cli(*(word.format(**vars(done)) for word in words))
    assert result.exit_code == 130
    assert result.stderr.startswith("error: interrupted")
    assert ("what was finished is kept" in result.stderr) == kept


def test_ctrl_c_while_the_program_is_loaded_exits_with_130_and_without_a_traceback():
    code = """
import sys
from protect.__main__ import main

class CtrlC:
    def find_spec(self, name, *_):
        if name == "protect.console":
            raise KeyboardInterrupt

sys.meta_path.insert(0, CtrlC())
main()
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("protect", "pydantic"),
        ("protect.cli.app", "pydantic"),
        ("protect.console", "pydantic"),
        ("protect.cli.app", "torch"),
        ("protect.config.settings", "torch"),
        ("protect.documents.manifest", "torch"),
    ],
)
def test_help_and_errors_come_at_once(module, heavy):
    code = f"import sys, {module}; print({heavy!r} in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


def test_names_cannot_write_to_the_terminal(done):
    """A file name with an escape sequence or markup is shown, not obeyed."""
    evil = done.protected / "red" / "\x1b[31m[bold]evil.png"
    evil.write_bytes(b"x")
    result = cli("check", done.protected)
    assert result.exit_code == 1
    assert "\x1b" not in result.stdout
    assert "[bold]evil.png" in result.stdout

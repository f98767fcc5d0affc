"""Processes that help: they answer as the function would, fail as it would, and outlive nobody."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from system.helping import Broken, Times, fail, pid_after

from protect.errors import ImageRefused, MachineError
from protect.system.parallel import ordered_map
from protect.system.workers import Workers

PATIENCE = 20.0
INTERRUPTIBLE = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
"""As in a terminal: a shell lets its jobs in the background ignore Ctrl-C."""
posix = pytest.mark.skipif(sys.platform == "win32", reason="sends signals")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One that has ended stays until somebody asks how, which may be nobody in a container.
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] not in "ZX"


def all_end(pids: set[int]) -> bool:
    end = time.monotonic() + PATIENCE
    while any(map(is_running, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(is_running, pids))


def start(script: Path) -> subprocess.Popen[str]:
    """Run a script in a group of its own, to which a terminal's signals can be sent."""
    return subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("count", [1, 3])
def test_answers_come_in_order_from_that_many_other_processes(count: int):
    with Workers(Times(7), count) as workers:
        answers = list(ordered_map(workers, range(60), count))
    assert [product for product, _ in answers] == [7 * i for i in range(60)]
    pids = {pid for _, pid in answers}
    assert os.getpid() not in pids
    assert len(pids) <= count
    assert all_end(pids)


def test_all_processes_work_at_once():
    with Workers(pid_after, 3) as workers:
        list(ordered_map(workers, [0.0] * 3, 3))  # they have started
        start = time.monotonic()
        assert len(set(ordered_map(workers, [1.0] * 3, 3))) == 3
        assert time.monotonic() - start < 2.5


def test_an_error_comes_through_whole_and_the_process_goes_on():
    with Workers(fail, 1) as workers:
        with pytest.raises(ImageRefused, match="broken") as caught:
            workers("refuse")
        assert (caught.value.message, caught.value.hint) == ("x.png: broken", "mend it")
        assert "in fail" in caught.value.__notes__[0]
        with pytest.raises(RuntimeError, match="odd 1 2"):
            workers("odd")
        with pytest.raises(RuntimeError, match="cannot be sent"):
            workers("unsendable")
        assert workers("still here") == "still here"


@posix
def test_a_process_that_is_killed_is_told_of():
    with Workers(fail, 1) as workers:
        with pytest.raises(MachineError, match="-9") as caught:
            workers("die")
        assert "--resume" in caught.value.hint
        with pytest.raises(MachineError, match="-9"):
            workers("again")


@posix
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_they_end_with_whoever_asks_and_need_no_guard_around_a_script(tmp_path, name):
    sent = signal.Signals[name]
    script = tmp_path / "script.py"
    script.write_text(
        f"{INTERRUPTIBLE}import sys\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from system.helping import pid_after\n"
        "from protect.system.parallel import ordered_map\n"
        "from protect.system.workers import Workers\n"
        "with Workers(pid_after, 2) as workers:\n"
        "    pids = set(ordered_map(workers, [0.3] * 4, 2))\n"
        "    print(*pids, flush=True)\n"
        "    list(ordered_map(workers, [0.1] * 10_000, 2))\n"
    )
    script_process = start(script)
    pids = set(map(int, script_process.stdout.readline().split()))
    assert len(pids) == 2
    if sent is signal.SIGINT:  # as a terminal sends it, to all
        os.killpg(script_process.pid, sent)
    else:
        script_process.send_signal(sent)
    assert all_end(pids)
    _, said = script_process.communicate(timeout=PATIENCE)
    assert said.count("Traceback") == (sent is signal.SIGINT)  # the script's own


@posix
def test_ctrl_c_while_they_start_is_not_theirs_to_tell(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"{INTERRUPTIBLE}import sys, time\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from system.helping import pid_after\n"
        "from protect.system.workers import Workers\n"
        "with Workers(pid_after, 3):\n"
        "    print('started', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = start(script)
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert said.count("KeyboardInterrupt") == 1, said
    assert said.count("Traceback") == 1


@pytest.mark.parametrize("printed", ["hello\n", "no end of line"])
def test_what_python_prints_when_it_starts_is_no_answer(tmp_path, monkeypatch, printed):
    (tmp_path / "sitecustomize.py").write_text(f"print({printed!r}, end='', flush=True)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Workers(Times(2), 1) as workers:
        assert workers(4)[0] == 8


def test_without_a_standard_error_they_answer(tmp_path):
    code = (
        f"import os, sys\nsys.path[:0] = {sys.path!r}\nos.close(2)\n"
        "from system.helping import Times\n"
        "from protect.system.workers import Workers\n"
        "with Workers(Times(2), 1) as workers:\n    print(workers(4)[0])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=60)
    assert ran.stdout.split() == [b"8"]


def test_a_function_that_cannot_be_loaded_is_every_answer():
    with Workers(Broken(), 1) as workers:
        for _ in range(2):
            with pytest.raises(ImageRefused, match="not here"):
                workers("anything")

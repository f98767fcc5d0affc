"""What is drawn while a recipe works, on a terminal and in a log."""

import os
import re
import subprocess
import sys

import pytest
import typer
from helpers import cli

from protect.cli.app import app
from protect.console import Screen, _Pace
from protect.events import PartStarted, StageAdvanced, StageFinished, StageStarted

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9]m")
COMMANDS = typer.main.get_command(app).commands


class Clock:
    """Stands for the time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("protect.console.time", clock)
    return clock


def test_the_rest_is_told_by_the_mean_of_the_later_half(clock):
    pace = _Pace(10)
    assert pace.left() == ""
    told = []
    for seconds in (40, 2, 4, 3):
        clock.now += seconds
        pace.advance(1, known=False)
        told.append(pace.left())
    assert told == ["", *(f"about {seconds} s left" for seconds in (16, 21, 21))]
    clock.now += 5
    assert pace.left() == "about 16 s left"
    clock.now += 500
    assert pace.left() == "about 0 s left"


def test_what_an_earlier_run_had_done_does_not_flatter_the_rest(clock):
    pace = _Pace(60)
    pace.advance(30, known=True)
    for _ in range(2):
        assert pace.left() == ""
        clock.now += 8
        pace.advance(1, known=False)
    assert pace.left() == "about 3 min 44 s left"


def test_news_without_a_step_changes_no_rest(clock):
    pace = _Pace(10)
    for steps in (0, 1, 0, 1, 0):
        clock.now += 3
        pace.advance(steps, known=False)
    assert pace.left() == "about 45 s left"


def test_where_no_total_is_known_no_rest_is_told(clock):
    pace = _Pace(0)
    clock.now += 8
    pace.advance(3, known=False)
    assert pace.left() == ""


def test_a_log_has_the_part_the_steps_the_rest_and_the_figures(clock, capsys):
    screen = Screen()
    for event in (PartStarted(2, 3), StageStarted("Optimising noise", 4)):
        screen.listen(event)
    for seconds in (20, 100, 1):
        clock.now += seconds
        status = "too soon for a line" if seconds == 1 else "bound 50%, loss 1.00/2.00"
        screen.listen(StageAdvanced(status=status))
    screen.listen(StageFinished(121.0))
    screen.listen(StageStarted("Trying", 0))
    clock.now += 20
    screen.listen(StageAdvanced())
    assert capsys.readouterr().err.splitlines() == [
        "2/3 Optimising noise: 4 to do",
        "2/3 Optimising noise: 1/4, bound 50%, loss 1.00/2.00",
        "2/3 Optimising noise: 2/4, about 3 min 20 s left, bound 50%, loss 1.00/2.00",
        "2/3 Optimising noise: done in 2 min 1 s",
        "2/3 Trying",
        "2/3 Trying: 1 done",
    ]


def on_a_terminal(*words: object, **variables: str) -> str:
    """Run `protect WORDS` with a terminal for stdout and stderr; return what it drew."""
    import pty  # not on Windows

    reader, writer = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        [sys.executable, "-m", "protect", *map(str, words)],
        stdout=writer,
        stderr=writer,
        stdin=subprocess.DEVNULL,
        env=clean | {"TERM": "xterm-256color"} | variables,
    )
    os.close(writer)
    drawn = b""
    try:
        while part := os.read(reader, 65536):
            drawn += part
    except OSError:  # how Linux says that the other end is closed
        pass
    process.wait()
    os.close(reader)
    return drawn.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
@pytest.mark.parametrize(
    ("words", "variables", "coloured"),
    [
        ((), {}, True),
        (("--no-color",), {}, False),
        ((), {"NO_COLOR": "1"}, False),
    ],
)
def test_colours_can_be_done_without(tmp_path, words, variables, coloured):
    """A folder that is not there: the word "error" is red."""
    drawn = on_a_terminal("check", tmp_path / "nowhere", *words, **variables)
    assert "error: " in COLOUR.sub("", drawn.replace("\x1b[0m", "").replace("\x1b[1m", ""))
    assert bool(COLOUR.search(drawn)) is coloured


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_flags_of_output(name):
    flags = {flag for parameter in COMMANDS[name].params for flag in parameter.opts}
    assert {"--json", "--quiet", "-q", "--no-color"} <= flags


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_an_example(name):
    result = cli(name, "--help")
    assert result.exit_code == 0
    assert f"protect {name} " in result.stdout

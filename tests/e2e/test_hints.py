"""What to type next is what was typed, quoted for a shell."""

import shlex

import pytest
import typer
from helpers import TINY, cli

from protect.cli.app import app
from protect.cli.hints import command, typed

GROUP = typer.main.get_command(app)


def context_of(words: list[str]):
    """Parse a command line as the shell would hand it over."""
    name, *rest = words
    return GROUP.commands[name].make_context(name, rest)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "photos"],
        ["run", "my photos", "-o", "it's $HOME; out", "--eps", "4/255", "--seed", "0"],
        ["run", "x", "--weights", "a=b c", "--weights", "d=é猫", "--offline", "-b", "8", "-j", "2"],
        ["run", "--on-error", "skip", "--preset", "quick", "--", "-x"],
        ["verify", "p", "--no-cache", "--mode", "full", "--mode", "scratch", "--lr", "1e-05"],
        ["verify", "p", "--shard", "1/4", "--tier", "ci", "--junit", "*.xml", "-q"],
        ["preview", "p", "--class", "a b", "--class", "c", "--per-class", "3"],
        ["check", "~/p", "--source", "#s", "--json"],
        ["backbones", "vit"],
    ],
)
def test_a_typed_command_reads_back_to_the_same(words):
    context = context_of(words)
    program, *again = shlex.split(typed(context))
    assert program == "protect"
    params = context_of(again).params
    typed_path = {"source", "protected"} & params.keys()
    for name in typed_path:
        assert str(params.pop(name)) == str(context.params.pop(name)).removeprefix("./")
    assert params == context.params


def test_what_was_not_typed_is_not_repeated():
    assert typed(context_of(["run", "photos", "--seed", "3"])) == "protect run photos --seed 3"


def test_words_are_quoted():
    assert command("verify", "a b") == "protect verify 'a b'"


def test_ctrl_c_tells_the_very_command_to_go_on_with(tmp_path, monkeypatch, make_folder):
    photos, out = make_folder("my photos"), tmp_path / "out dir"
    words = ("run", photos, "-o", out, *TINY, "--eps", "4/255", "--overwrite", "-q")
    with monkeypatch.context() as patch:

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        # After the first stage, so that there is something to go on with.
        patch.setattr("protect.run.optimise", interrupt)
        result = cli(*words)
    assert result.exit_code == 130
    line = next(line for line in result.stderr.splitlines() if "protect run" in line)
    program, *again = shlex.split(line.partition("go on with: ")[2])
    assert program == "protect"
    assert "--resume" in again
    assert "--overwrite" not in again
    assert cli(*again).exit_code == 0
    assert cli("check", out).exit_code == 0


def test_ctrl_c_in_a_verification_tells_the_command(done, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("protect.verify.verify_folder", interrupt)
    result = cli("verify", done.protected, "--epochs", 1, "--seeds", 2)
    assert result.exit_code == 130
    assert f"go on with: protect verify {done.protected} --epochs 1 --seeds 2" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("check", "protected"), "next: protect verify protected"),
        (("preview", "protected"), "next: protect verify protected"),
        (("backbones", "lite0"), "next: protect verify protected --backbone timm:tf_eff"),
    ],
)
def test_each_command_says_what_comes_next(done, monkeypatch, words, said):
    monkeypatch.chdir(done.root)
    result = cli(*words)
    assert said in result.stderr
    assert "next: " not in cli(*words, "--quiet").stderr


def test_a_folder_that_is_not_intact_is_not_sent_to_verify(done):
    (done.protected / "red" / "0.png").unlink()
    result = cli("check", done.protected)
    assert result.exit_code == 1
    assert "next: " not in result.stderr

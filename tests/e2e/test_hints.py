"""What to type next is what was typed, quoted for a shell."""

import shlex

import pytest
import typer
from helpers import TINY, cli

from protect.cli.app import app
from protect.cli.hints import command, typed
from protect.config.settings import SECRET, VerifyConfig
from protect.errors import ExitCode
from protect.events import ignore
from protect.subject import open_subject

GROUP = typer.main.get_command(app)


def context_of(words: list[str]):
    """Parse a command line as the shell would hand it over."""
    name, *rest = words
    return GROUP.commands[name].make_context(name, rest)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "photos"],
        ["run", "my photos", "-o", "it's $HOME; out", "--eps", "4/255"],
        ["run", "x", "--weights", "a=b c", "--weights", "d=é猫", "--offline", "-b", "8", "-j", "2"],
        ["run", "--on-error", "skip", "--preset", "quick", "--", "-x"],
        ["verify", "p", "--no-cache", "--mode", "full", "--mode", "scratch", "--lr", "1e-05"],
        ["verify", "p", "--seed", "12345"],
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
    assert typed(context_of(["run", "photos", "--rounds", "3"])) == "protect run photos --rounds 3"


@pytest.mark.parametrize("secret", sorted(SECRET))
@pytest.mark.parametrize("form", ["{} {}", "{}={}"])
def test_a_secret_is_named_but_not_spelled(secret, form):
    words = ["run", "photos", *form.format(f"--{secret}", "7654321").split(), "--offline"]
    placeholder = secret.upper()
    assert typed(context_of(words)) == f"protect run photos --{secret} {placeholder} --offline"
    assert cli("run", "photos", f"--{secret}", placeholder).exit_code == 2


@pytest.mark.parametrize("flags", [(), ("--dry-run",), ("--extend",), ("--resume",)])
@pytest.mark.parametrize("where", ["flag", "file"])
def test_no_word_of_a_run_has_its_seed(tmp_path, monkeypatch, flags, where):
    """Neither those after Ctrl-C nor the hint of a dry run."""
    settings = tmp_path / "settings.toml"
    settings.write_text("[run]\nseed = 7654321\n")
    seed = ("--seed", 7654321) if where == "flag" else ("--config", settings)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("protect.run.protect_folder", interrupt)
    monkeypatch.setattr("protect.cli.run._foretell", lambda *_: ExitCode.OK)
    result = cli("run", "photos", *seed, *flags)
    assert result.exit_code == (0 if "--dry-run" in flags else 130), result.output
    assert "protect run photos" in result.stderr
    assert "7654321" not in result.output


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
    hint = line.partition("go on with: ")[2]
    program, *again = shlex.split(hint.replace("--seed SEED", "--seed 0"))
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


def test_ctrl_c_promises_nothing_where_nothing_is_kept(done, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("protect.verify.verify_folder", interrupt)
    result = cli("verify", done.protected, "--no-cache")
    assert result.exit_code == 130
    assert "interrupted" in result.stderr
    assert "kept" not in result.stderr
    assert "go on" not in result.stderr


@pytest.mark.parametrize("looks", ["check", "preview"])
@pytest.mark.parametrize("moved", [(), ("photos",), ("manifest",), ("photos", "manifest")])
def test_what_comes_next_finds_what_had_to_be_named(done, monkeypatch, looks, moved):
    """Each place is where only the flag finds it."""
    monkeypatch.chdir(done.root)
    words: list[object] = [looks, "protected"]
    if "photos" in moved:
        done.photos.rename(done.root / "my photos")
        words += ["--source", "my photos"]
    if "manifest" in moved:
        (done.protected / "manifest.json").rename(done.root / "it's.json")
        words += ["--manifest", "it's.json"]
    result = cli(*words)
    assert result.exit_code == 0, result.output
    program, *again = shlex.split(result.stderr.partition("next: ")[2].splitlines()[0])
    assert program == "protect"
    seen = []

    def note(config: VerifyConfig, *_: object) -> None:
        seen.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr("protect.verify.verify_folder", note)
    assert cli(*again).exit_code == 130
    (config,) = seen
    assert len(open_subject(config, 1, False, ignore).images) == 24


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

"""Settings from a TOML file: over the defaults, under the flags, and printed to be read back."""

import tomllib
from enum import StrEnum
from pathlib import Path

import pytest
import typer
from helpers import cli

from protect.cli.app import app
from protect.config import choices


def is_enum(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, StrEnum)


EXAMPLE = Path(__file__).parents[2] / "examples" / "protect.toml"
GROUP = typer.main.get_command(app)
COMMANDS = [
    name
    for name, command in GROUP.commands.items()
    if any(parameter.name == "print_config" for parameter in command.params)
]
OPTIONS = [
    pytest.param(name, parameter, id=f"{name}-{parameter.name}")
    for name in COMMANDS
    for parameter in GROUP.commands[name].params
    if parameter.param_type_name == "option"
    and parameter.name not in ("config_file", "print_config", "no_colour")
]
CHOICES = [choice.value for kind in vars(choices).values() if is_enum(kind) for choice in kind]
CANDIDATES = ("3", "64", "0.5", "4/255", "1/4", "cpu", "60s", "a=b", "x", *CHOICES)
"""One of them is legal and not the default, whatever the option."""


def printed(*words: object) -> str:
    result = cli(*words, "--print-config")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def file_of(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "protect.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_both_recipes_take_settings():
    assert {"run", "verify"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_defaults_read_back_as_they_were_printed(tmp_path, command):
    text = printed(command, "folder")
    assert printed(command, "--config", file_of(tmp_path, text)) == text
    assert set(tomllib.loads(text)) == {command}


@pytest.mark.parametrize(("command", "parameter"), OPTIONS)
def test_every_option_survives_the_file(tmp_path, command, parameter):
    """Printed, read back and printed again, it is the same, and is not the default."""
    flag = next(flag for flag in parameter.opts if flag.startswith("--"))
    default = printed(command, "folder")
    if parameter.is_flag:
        tried = [[flag], parameter.secondary_opts[:1]]
    else:
        tried = [[flag, candidate] for candidate in CANDIDATES]
    for words in tried:
        result = cli(command, "folder", *words, "--print-config")
        if result.exit_code == 0 and result.stdout != default:
            break
    else:
        pytest.fail(f"no value for {flag} was found that is legal and not the default")
    file = file_of(tmp_path, result.stdout)
    assert printed(command, "--config", file) == result.stdout
    key = flag.removeprefix("--")
    assert tomllib.loads(result.stdout)[command][key] != tomllib.loads(default)[command].get(key)


def test_a_flag_overrules_the_file_and_the_file_the_default(tmp_path):
    file = file_of(tmp_path, '[run]\nsource = "a"\nrounds = 5\nseed = 7\nweights = ["n=f"]\n')
    found = tomllib.loads(printed("run", "b", "--seed", "9", "--config", file))["run"]
    assert (found["source"], found["rounds"], found["seed"]) == ("b", 5, 9)
    assert found["weights"] == ["n=f"]
    assert found["preset"] == "standard"
    file = file_of(tmp_path, '[verify]\nprotected = "p"\ncache = false\nbackbone = ["a", "b"]\n')
    assert tomllib.loads(printed("verify", "--config", file))["verify"]["cache"] is False
    flags = ("--cache", "--backbone", "c")
    found = tomllib.loads(printed("verify", "--config", file, *flags))["verify"]
    assert (found["cache"], found["backbone"]) == (True, ["c"])


@pytest.mark.parametrize("name", ['a "b" \\ c', "猫/é 😀", "tab\there\x7f\x1b[31m", "1.5", "true"])
def test_any_name_survives_the_file(tmp_path, name):
    text = printed("run", name)
    assert tomllib.loads(text)["run"]["source"] == name
    assert printed("run", "--config", file_of(tmp_path, text)) == text
    assert text.isprintable() or "\x1b" not in text


def test_a_name_that_no_toml_holds_is_refused():
    result = cli("run", "a\udcff", "--print-config")
    assert result.exit_code == 2
    assert "UTF-8" in result.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[run]\nroundz = 3", "run.roundz: no such setting; did you mean rounds?"),
        ("[run]\nbatch_size = 3", "did you mean batch-size?"),
        ("[run]\ntier = 'ci'", "run.tier: no such setting; it belongs into [verify]"),
        ("[verify]\neps = '8/255'", "verify.eps: no such setting; it belongs into [run]"),
        ("[verfy]\ntier = 'ci'", "verfy: no such table; did you mean verify?"),
        ("rounds = 3", "it belongs into [run]"),
        ("run = 3", "run: must be a table, [run]"),
        ("[run]\nconfig = 'x'", "run.config: no such setting"),
        ("[run]\nrounds = '3'", "run.rounds: must be a whole number, not '3'"),
        ("[run]\nrounds = true", "run.rounds: must be"),
        ("[run]\nrounds = 3.5", "run.rounds: "),
        ("[run]\neps = 0.03", "run.eps: must be a string, not 0.03"),
        ("[run]\noffline = 1", "run.offline: must be true or false, not 1"),
        ("[run]\noffline = 'no'", "run.offline: must be true or false, not 'no'"),
        ("[run]\npreset = 'fast'", "run.preset: 'fast' is not one of"),
        ("[run]\npreset = ['quick']", "run.preset: must be a single value"),
        ("[run]\nsource = 2026-11-25", "run.source: "),
        ("[run]\nweights = 'a=b'", "run.weights: must be a list, not 'a=b'"),
        ("[run]\nweights = [3]", "run.weights: "),
        ("[run]\nweights = {a = 'b'}", "run.weights: "),
        ("[verify]\nlr = '1'", "verify.lr: must be a number, not '1'"),
        ("[verify]\nmode = ['full', 'x']", "verify.mode: "),
        ("[run]\nbatch-size = '64'", "run.batch-size: must be a whole number, not '64'"),
        ("[run]\nbatch-size = 'all'", "run.batch-size: 'all' is neither a number nor 'auto'"),
        ("[run]\nbatch-size = 1", "batch_size"),
        ("[run]\nbatch-size = inf", "run.batch-size: "),
        ("[run]\nbatch-size = 2024-01-01", "run.batch-size: "),
        ("[run]\nbatch-size = 64.0", "run.batch-size: must be a whole number"),
        ("[run]\nrounds = 0", "rounds: Input should be greater"),
        ("[run", "is not TOML"),
        ("[run]\nrounds = 1\nrounds = 2", "is not TOML"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_file(tmp_path, text, said):
    file = file_of(tmp_path, text)
    result = cli("run", "folder", "--config", file)
    assert result.exit_code == 2
    assert said in result.stderr
    assert str(file) in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("'7654321'", "must be a whole number"),
        ("7654321.0", "must be a whole number"),
        ("7654321.5", "cannot be read"),
        ("'7654321x'", "cannot be read"),
        ("[7654321]", "must be a single value"),
        ("{a = 7654321}", "must be a single value"),
        ("-7654321", "greater than or equal to 0"),
        ("765432100000000000000000000000000000000000000000000", "less than"),
    ],
)
def test_a_secret_that_cannot_be_used_is_not_spelled(tmp_path, value, said):
    result = cli("run", "folder", "--config", file_of(tmp_path, f"[run]\nseed = {value}\n"))
    assert result.exit_code == 2
    assert f"seed: {said}" in result.stderr.replace("Input should be ", "")
    assert "76543" not in result.output
    result = cli("verify", "p", "--config", file_of(tmp_path, "[verify]\nseed = '7654321'\n"))
    assert "verify.seed: must be a whole number, not '7654321'" in result.stderr


def test_all_that_is_wrong_is_named_at_once(tmp_path):
    file = file_of(tmp_path, "[run]\nroundz = 3\nseed = 'x'\n[verify]\nsize = 'big'\n[no]\n")
    result = cli("run", "folder", "--config", file)
    assert all(key in result.stderr for key in ("run.roundz", "run.seed", "verify.size", "no: "))


def test_a_whole_number_is_a_number(tmp_path):
    assert "lr = 1.0" in printed("verify", "p", "--config", file_of(tmp_path, "[verify]\nlr = 1"))


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    file = tmp_path / "x.toml"
    if content is not None:
        file.write_bytes(content)
    result = cli("verify", "p", "--config", file)
    assert result.exit_code == 2
    assert str(file) in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_is_one(command):
    found = tomllib.loads(printed(command, "--config", EXAMPLE))[command]
    wanted = tomllib.loads(EXAMPLE.read_text())[command]
    assert wanted.items() <= found.items()

"""Flags to settings: the meaning of --eps, and every impossible setting named."""

import math

import pytest
import typer
from helpers import cli
from hypothesis import given
from hypothesis import strategies as st

from protect.cli.app import app
from protect.config.choices import Harden, Preset
from protect.config.settings import CheckConfig, PreviewConfig, RunConfig, VerifyConfig, build
from protect.config.values import Eps, Shard, TimeBudget
from protect.errors import ConfigError
from protect.generation import settle_harden
from protect.models.names import resolve


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("1/255", 1),
        ("4/255", 4),
        ("7.6/255", 7),
        ("7.99/255", 7),
        ("8/255", 8),
        (" 8 / 255 ", 8),
        ("0.03", 7),
        ("0.0313725490196", 8),
        ("3.13725490196e-2", 8),
        ("16/255", 16),
        ("1", 255),
        ("1/1", 255),
    ],
)
def test_eps_in_whole_levels(text, levels):
    eps = Eps.parse(text)
    assert eps.levels == levels
    assert eps.text == text.strip()


@given(levels=st.integers(1, 255))
def test_every_whole_level_is_itself_and_a_little_less_is_one_less(levels):
    assert Eps.parse(f"{levels}/255").levels == levels
    if levels > 1:
        assert Eps.parse(f"{levels - 0.001}/255").levels == levels - 1


@pytest.mark.parametrize(
    "text",
    [
        "8",
        "255",
        "1.5",
        "8/0",
        "0",
        "0/255",
        "-8/255",
        "nan",
        "inf",
        "8/",
        "/255",
        "",
        "x",
        "8/255/1",
        "0.5/255",
        "0.003",
        "1e400",
        "8;exit()",
    ],
)
def test_impossible_eps_is_refused_with_a_hint(text):
    with pytest.raises(ConfigError) as caught:
        Eps.parse(text)
    assert repr(text) in caught.value.message
    assert caught.value.hint


def test_eps_of_8_is_asked_whether_8_of_255_was_meant():
    with pytest.raises(ConfigError) as caught:
        Eps.parse("8")
    assert "did you mean --eps 8/255?" in caught.value.hint


def test_all_impossible_settings_are_named_together():
    with pytest.raises(ConfigError) as caught:
        build(RunConfig, source="x", rounds=0, size=7, device="gpu")
    text = "\n".join(caught.value.details)
    assert all(name in text for name in ("rounds", "size", "device"))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (VerifyConfig, {"protected": "x", "lr": 1e39}),
        (VerifyConfig, {"protected": "x", "lr": math.inf}),
        (VerifyConfig, {"protected": "x", "lr": math.nan}),
        (VerifyConfig, {"protected": "x", "batch_size": 10**20}),
        (RunConfig, {"source": "x", "batch_size": 10**20}),
    ],
)
def test_a_number_that_pytorch_cannot_take_is_an_impossible_setting(kind, settings):
    with pytest.raises(ConfigError, match="impossible"):
        build(kind, **settings)


def test_unknown_settings_are_refused():
    with pytest.raises(ConfigError, match="impossible"):
        build(VerifyConfig, protected="x", epoch=3)


def test_own_counts_go_over_the_preset():
    config = RunConfig(source="x", preset=Preset.QUICK, rounds=7)
    assert config.effort.rounds == 7
    assert config.effort.batch_size == RunConfig(source="x", preset="quick").effort.batch_size


@pytest.mark.parametrize(
    ("asked", "wants"),
    [
        ({}, False),
        ({"preset": "strong"}, False),
        ({"batch_size": 8}, False),
        ({"mode": "class"}, False),
        ({"rounds": 7}, True),
        ({"outer_steps": 2}, True),
        ({"time_budget": "5m"}, True),
        ({"targets": "curriculum"}, True),
        ({"binding": "head"}, True),
    ],
)
def test_who_asks_for_what_a_search_has_not_gets_rounds(asked, wants):
    config, said = RunConfig(source="x", **asked), []
    assert config.wants_rounds == wants
    settled = settle_harden(config, 2, said.append)
    assert ["undo it" in notice.text for notice in said] == [True] * wants
    assert settled.hardened == (() if wants else ("jpeg", "blur", "resize"))
    assert settled.textured != wants
    assert config.model_copy(update={"harden": settled.harden}) == settled
    typed = config.model_copy(update={"harden": ("grey",)})
    assert settle_harden(typed, 2, said.append) == typed
    assert len(said) == wants


@pytest.mark.parametrize(("preset", "classes"), [("quick", 13), ("standard", 27), ("strong", 72)])
def test_the_next_preset_is_named_where_there_is_one(preset, classes):
    said = []
    config = RunConfig(source="x", preset=preset)
    assert settle_harden(config, classes - 1, said.append).textured
    assert not said
    assert not settle_harden(config, classes, said.append).textured
    (notice,) = said
    assert notice.severity == "warning"
    assert f"has time for {classes - 1} classes of {classes}" in notice.text
    assert ("--preset strong" in notice.text) == (preset != "strong")


UNSET = [
    ("source", ("",)),
    ("output", ("",)),
    ("labels", ("",)),
    ("manifest", ("",)),
    ("harden", ("", ",", " , ")),
    ("surrogate", ("", " ", "timm:", "local-dir:")),
    ("eps", ("", " ")),
    ("time_budget", ("", " ")),
    ("rights", ("", " ")),
    ("targets", ("",)),
    ("binding", ("",)),
    ("mode", ("",)),
    ("preset", ("",)),
    ("on_error", ("",)),
    ("device", ("", " ")),
    ("batch_size", ("",)),
    ("size", ("",)),
    ("rounds", ("",)),
    ("seed", ("",)),
]


@pytest.mark.parametrize(("name", "texts"), UNSET)
def test_what_a_shell_makes_of_a_variable_that_is_not_set_is_no_setting(name, texts):
    for text in texts:
        with pytest.raises(ConfigError) as caught:
            resolve(build(RunConfig, **{"source": "x", name: text}).surrogate)
        assert caught.value.hint or caught.value.details
        flag = f"--{name.replace('_', '-')}"
        if name not in ("surrogate", "source"):
            refused = cli("run", "x", flag, text)
            assert refused.exit_code == 2
            assert "does not exist" not in refused.stderr
            assert name.partition("_")[0] in refused.output


COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_takes_an_empty_word_for_a_path(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = [
        flag
        for parameter in COMMANDS[name].params
        for flag in parameter.opts
        if flag.startswith("-") and not getattr(parameter, "is_flag", False)
    ]
    empty = [[flag, ""] for flag in flags] + [[f"{flag}="] for flag in flags if flag[1] == "-"]
    assert len(empty) > 1 or name == "backbones"
    for words in [[""], ["x", ""], *(["x", *words] for words in empty)]:
        refused = cli(name, *words)
        assert refused.exit_code == 2
        said = words[1].rstrip("=") if len(words) > 1 and words[1] else "an argument"
        assert f"{said} is empty" in refused.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_said_twice_is_not_empty(name, tmp_path):
    """Nor is the path after a flag without a value that of the flag."""
    switches = [
        flag
        for parameter in COMMANDS[name].params
        for flag in parameter.opts
        if getattr(parameter, "is_flag", False)
    ]
    assert len(switches) > 1
    for flag in switches:
        result = cli(name, tmp_path / "nowhere", flag, flag, "=", "x=", "x=", "--no-such")
        assert "is empty" not in result.stderr
        assert "an argument is empty" in cli(name, flag, "").stderr
    for argument in (p.name for p in COMMANDS[name].params if p.param_type_name == "argument"):
        assert "an argument is empty" in cli(name, argument, "").stderr


@pytest.mark.parametrize("kind", [RunConfig, VerifyConfig, CheckConfig, PreviewConfig])
def test_no_empty_path_is_the_current_folder(kind):
    paths = [name for name, field in kind.model_fields.items() if "Path" in str(field.annotation)]
    assert len(paths) >= 3
    for name in paths:
        if name == "weights":
            continue
        named = {
            field: "x" for field in kind.model_fields if kind.model_fields[field].is_required()
        }
        with pytest.raises(ConfigError) as caught:
            build(kind, **{**named, name: ""})
        assert caught.value.details == (f"{name}: is empty",)


@pytest.mark.parametrize("line", ['output = ""', 'weights = [""]', 'surrogate = ""', 'eps = ""'])
def test_no_empty_text_of_a_file_is_a_setting(line, tmp_path):
    settings = tmp_path / "protect.toml"
    settings.write_text(f"[run]\n{line}\n")
    refused = cli("run", tmp_path, "--config", settings)
    assert refused.exit_code == 2
    assert f"run.{line.partition(' ')[0]}: is empty" in refused.stderr


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("none", ()),
        ((), ()),
        ("auto", "auto"),
        ("jpeg", ("jpeg",)),
        ("jpeg,,jpeg", ("jpeg",)),
        (("jpeg", "jpeg"), ("jpeg",)),
        (["grey", "jpeg", "grey"], ("grey", "jpeg")),
        ((Harden.BLUR, "blur"), ("blur",)),
    ],
)
def test_what_the_noise_shall_survive_is_named_once(typed, read):
    assert build(RunConfig, source="x", harden=typed).harden == read


@pytest.mark.parametrize("harden", [("fog",), [["jpeg"]], 3, {"jpeg": 1}])
def test_other_things_are_nothing_to_survive(harden):
    with pytest.raises(ConfigError, match="impossible"):
        build(RunConfig, source="x", harden=harden)


def test_weight_files_are_published_without_their_folder():
    config = RunConfig(source="x", weights={"vit_b_16": "/home/ann/w.pth"})
    assert "/home" not in config.model_dump_json(exclude={"source", "output"})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1h1m1s", 3661),
        (" 0.5m ", 30),
        ("0h2s", 2),
    ],
)
def test_a_time_budget_in_seconds(text, seconds):
    budget = RunConfig(source="x", time_budget=text).time_budget
    assert budget.seconds == seconds
    assert budget.text == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "300",
        "0s",
        "0",
        "-5m",
        "5 m",
        "m",
        "5x",
        "1m1h",
        "1s1s",
        "nan",
        "infs",
        "1e3s",
        "٣s",
    ],
)
def test_an_impossible_time_budget_is_refused_with_a_hint(text):
    with pytest.raises(ConfigError) as caught:
        build(RunConfig, source="x", time_budget=text)
    assert repr(text) in caught.value.message
    assert caught.value.hint


def test_a_time_without_a_unit_is_asked_about():
    with pytest.raises(ConfigError) as caught:
        TimeBudget.parse("5")
    assert caught.value.hint == "did you mean 5m or 5s?"


def test_time_and_rounds_exclude_each_other():
    with pytest.raises(ConfigError, match="exclude each other"):
        build(RunConfig, source="x", time_budget="5m", rounds=3)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10])
def test_all_shards_together_have_every_cell_once(count):
    items = list("abcdefg")
    parts = [Shard.parse(f"{i}/{count}").of(items) for i in range(1, count + 1)]
    assert sorted(item for part in parts for item in part) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1

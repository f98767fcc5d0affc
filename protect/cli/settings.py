"""Settings from a TOML file: first the defaults, over them the file, over both the flags.

A table is named as its command and a key as its flag, so that every option can be set in a file
without a word about it where it is defined.
"""

import tomllib
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from protect.cli.answers import answered
from protect.cli.hints import is_secret
from protect.console import Screen
from protect.errors import ConfigError, ExitCode

_NO_SETTINGS = ("config_file", "print_config", "no_colour")
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", list: "a list"}


def _take_from(ctx: typer.Context, file: Path | None) -> Path | None:
    if file is not None and not ctx.resilient_parsing:
        with answered(Screen()):
            # What the command line does not say is looked up here before the defaults.
            ctx.default_map = read_settings(ctx, file)
    return file


FILES = "Settings from a file"
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        is_eager=True,
        callback=_take_from,
        help="Take settings from this command's table in a TOML file; flags overrule it.",
        rich_help_panel=FILES,
    ),
]
PrintConfig = Annotated[
    bool,
    typer.Option(
        "--print-config",
        help="Print all settings as they would be used, as a file for --config; do nothing else.",
        rich_help_panel=FILES,
    ),
]


def read_settings(ctx: typer.Context, file: Path) -> dict[str, Any]:
    """Read the settings of a command from a file, and check those of other commands on the way.

    Args:
        ctx: Of the command.
        file: A TOML file with a table for each command.

    Returns:
        Name of a parameter of the command -> its value as TOML has it.

    Raises:
        ConfigError: If the file cannot be read; or naming every table and key of it that does not
            exist, or has a value of another type.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read: {error.strerror or error}", "name a TOML file with --config"
        ) from None
    except ValueError as error:  # neither UTF-8 nor TOML
        raise ConfigError(f"{file} is not TOML: {error}", "see examples/protect.toml") from None
    tables = _tables(ctx)
    problems = []
    for name, table in content.items():
        if name not in tables:
            problems.append(f"{name}: no such table{_near(name, tables)}{_homes(name, tables)}")
        elif not isinstance(table, dict):
            problems.append(f"{name}: must be a table, [{name}]")
        else:
            problems += _problems(ctx, name, table, tables)
    if problems:
        raise ConfigError(
            f"{file} has settings that cannot be used",
            "a table is named as its command, a key as its flag: see protect run --help",
            problems,
        )
    keys = tables[_name(ctx)]
    return {keys[key].name: value for key, value in content.get(_name(ctx), {}).items()}


def print_settings(ctx: typer.Context, screen: Screen) -> NoReturn:
    """Print all settings of a command as a file that --config reads back to the same, and exit.

    Settings without a value are left out, as TOML has no word for that.

    Raises:
        ConfigError: If a path is not UTF-8, as TOML must be.
        Exit: Otherwise.
    """
    lines = [f"[{_name(ctx)}]"]
    for key, parameter in _keys(ctx.command).items():
        value = ctx.params.get(parameter.name)
        if value not in (None, [], ()):
            lines.append(f"{key} = {_toml(value)}")
    text = "\n".join(lines) + "\n"
    if screen.out.encoding != "utf-8":
        text = "".join(c if c.isascii() else _escaped(c) for c in text)
    screen.text(text)
    raise typer.Exit(ExitCode.OK)


def _name(ctx: typer.Context) -> str:
    return str(ctx.info_name)


def _tables(ctx: typer.Context) -> dict[str, dict[str, Any]]:
    """Return table -> key -> parameter, of all commands that take settings from a file."""
    commands: dict[str, Any] = getattr(ctx.parent and ctx.parent.command, "commands", {})
    return {
        name: _keys(command)
        for name, command in commands.items()
        if any(parameter.name == "config_file" for parameter in command.params)
    }


def _keys(command: Any) -> dict[str, Any]:
    """Return key -> parameter: the long flag without its dashes, or the name of an argument."""
    keys = {}
    for parameter in command.params:
        if parameter.name not in _NO_SETTINGS:
            flags = (flag[2:] for flag in parameter.opts if flag.startswith("--"))
            keys[next(flags, parameter.name)] = parameter
    return keys


def _problems(
    ctx: typer.Context, name: str, table: dict[str, Any], tables: dict[str, dict[str, Any]]
) -> list[str]:
    """Say what is wrong with a table, one line a key."""
    problems = []
    keys = tables[name]
    for key, value in table.items():
        if key not in keys:
            homes = _homes(key, tables)
            problems.append(f"{name}.{key}: no such setting{homes or _near(key, keys)}")
            continue
        parameter = keys[key]
        # Logs may be public, and what is no seed may still have the digits of one.
        instead = "" if is_secret(name, parameter.name) else f", not {value!r}"
        if "" in (value if isinstance(value, list) else [value]):
            problems.append(f"{name}.{key}: is empty")
            continue
        if isinstance(value, list | dict) and not getattr(parameter, "multiple", False):
            problems.append(f"{name}.{key}: must be a single value{instead}")
            continue
        if getattr(parameter, "multiple", False) and not isinstance(value, list):
            problems.append(f"{name}.{key}: must be a list{instead}")
            continue
        try:
            read = parameter.process_value(ctx, value)
        except typer.BadParameter as error:
            said = error.message.removeprefix("Value error, ") if instead else "cannot be read"
            problems.append(f"{name}.{key}: {said}")
        else:
            if not _is_of_the_kind(value, read):
                kind = _KINDS.get(type(read), "a string")
                problems.append(f"{name}.{key}: must be {kind}{instead}")
    return problems


def _is_of_the_kind(value: Any, read: Any) -> bool:
    """Whether a value means by itself what was read out of it: 3 is no "3", and true is no 1."""
    if isinstance(read, list):
        return isinstance(value, list) and all(map(_is_of_the_kind, value, read))
    if isinstance(value, bool) or isinstance(read, bool):
        return isinstance(value, bool) and isinstance(read, bool)
    if isinstance(read, float):
        return isinstance(value, int | float)
    return isinstance(value, int if isinstance(read, int) else str)


def _near(name: str, names: dict[str, Any]) -> str:
    close = get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _homes(key: str, tables: dict[str, dict[str, Any]]) -> str:
    homes = [f"[{name}]" for name, keys in tables.items() if key in keys]
    return f"; it belongs into {' or '.join(homes)}" if homes else ""


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, int | float):
        return repr(value)
    text = value.value if isinstance(value, Enum) else str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"{text!r} is not valid UTF-8, so no TOML file can hold it", "rename it first"
        ) from None
    return f'"{"".join(map(_toml_character, text))}"'


def _toml_character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else _escaped(character)


def _escaped(character: str) -> str:
    return f"\\U{ord(character):08X}"

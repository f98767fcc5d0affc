"""What to type next, ready to be pasted into a shell."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer


def command(*words: object) -> str:
    """Spell a command of protect, such as `protect verify 'my photos'`."""
    return shlex.join(["protect", *map(str, words)])


def verify_next(protected: Path, clean: Path | None, manifest: Path | None) -> str:
    """Spell `protect verify` of a folder with the places that were named to look at it."""
    places = {"--clean": clean, "--manifest": manifest}
    flags = [word for flag, path in places.items() if path is not None for word in (flag, path)]
    return command("verify", _not_a_flag(protected), *flags)


def typed(ctx: typer.Context, without: Sequence[str] = (), plus: Sequence[str] = ()) -> str:
    """Spell the command that is running as it was typed: flags, not what files or defaults say.

    Logs may be public, so a secret is no more than named, as `--seed SEED`.

    Args:
        ctx: Of the command.
        without: Names of parameters to leave out.
        plus: Words to add at the end.
    """
    words = [
        word
        for parameter in ctx.command.params
        if parameter.name not in without
        for word in _words(ctx, parameter)
    ]
    return command(ctx.info_name, *words, *plus)


def _not_a_flag(value: object) -> str:
    """Spell an argument so that a path like "-x" is not taken for a flag."""
    return f"./{value}" if str(value).startswith("-") else str(value)


def is_secret(command: str | None, parameter: str) -> bool:
    """Whether the value of a command's parameter is for its owner's eyes alone."""
    if command != "run":
        return False
    # Reading settings takes pydantic, for which no `--help` is to wait.
    from protect.config.settings import SECRET

    return parameter in SECRET


def _words(ctx: typer.Context, parameter: Any) -> Iterator[str]:
    """Spell a parameter as it was typed; nothing where it was not."""
    source = ctx.get_parameter_source(parameter.name)
    if source is None or source.name != "COMMANDLINE":
        return
    value = ctx.params.get(parameter.name)
    if parameter.param_type_name == "argument":
        yield _not_a_flag(value)
        return
    flag = next((flag for flag in parameter.opts if flag.startswith("--")), parameter.opts[0])
    if isinstance(value, bool):
        yield flag if value else parameter.secondary_opts[0]
        return
    if is_secret(ctx.info_name, parameter.name):
        yield from (flag, parameter.name.upper())
        return
    for item in value if isinstance(value, list | tuple) else [value]:
        yield from (flag, str(item))

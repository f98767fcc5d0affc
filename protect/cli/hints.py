"""What to type next, ready to be pasted into a shell."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import typer


def command(*words: object) -> str:
    """Spell a command of protect, such as `protect verify 'my photos'`."""
    return shlex.join(["protect", *map(str, words)])


def typed(ctx: typer.Context, without: Sequence[str] = (), plus: Sequence[str] = ()) -> str:
    """Spell the command that is running as it was typed: flags, not what files or defaults say.

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


def _words(ctx: typer.Context, parameter: Any) -> Iterator[str]:
    """Spell a parameter as it was typed; nothing where it was not."""
    source = ctx.get_parameter_source(parameter.name)
    if source is None or source.name != "COMMANDLINE":
        return
    value = ctx.params.get(parameter.name)
    if parameter.param_type_name == "argument":
        # A path like "-x" would be taken for a flag.
        yield f"./{value}" if str(value).startswith("-") else str(value)
        return
    flag = next((flag for flag in parameter.opts if flag.startswith("--")), parameter.opts[0])
    if isinstance(value, bool):
        yield flag if value else parameter.secondary_opts[0]
        return
    for item in value if isinstance(value, list | tuple) else [value]:
        yield from (flag, str(item))

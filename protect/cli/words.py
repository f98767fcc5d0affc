"""What is the same of all commands' arguments."""

from itertools import pairwise
from typing import Any

from typer.core import TyperCommand


class Command(TyperCommand):
    """A command that takes no empty argument, as `-o "$OUT"` is where OUT was never set.

    As a path it would be the current folder, which nobody meant to protect or to write to.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # typer has a click of its own
        """Refuse empty arguments, and parse the rest.

        Raises:
            UsageError: Naming the flag whose value is empty.
        """
        takes_value = {
            flag
            for parameter in self.params
            for flag in parameter.opts
            if parameter.param_type_name == "option" and not getattr(parameter, "is_flag", False)
        }
        for before, word in pairwise(["", *args]):
            if not word:
                empty = before if before in takes_value else "an argument"
            elif word.startswith("--") and word.endswith("="):
                empty = word[:-1]
            else:
                continue
            ctx.fail(f"{empty} is empty: is a variable of the shell not set?")
        return super().parse_args(ctx, args)

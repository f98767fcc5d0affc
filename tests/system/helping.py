"""What processes that help are asked for in tests; they import it by name."""

import os
import signal
import sys
import time
from dataclasses import dataclass

from protect.errors import ImageRefused


@dataclass(frozen=True)
class Times:
    """Multiplies, as a function that carries something."""

    factor: int

    def __call__(self, item: int) -> tuple[int, int]:
        sys.stdout.write("this must not end up among the answers\n")
        sys.stdout.flush()
        return self.factor * item, os.getpid()


class Broken:
    """Goes to another process and fails there."""

    def __getstate__(self) -> str:
        return "state"

    def __setstate__(self, state: str) -> None:
        raise ImageRefused("not here")

    def __call__(self, item: object) -> object:
        return item


class OddError(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"odd {one} {two}")


def fail(item: str) -> object:
    match item:
        case "refuse":
            raise ImageRefused("x.png: broken", "mend it")
        case "odd":
            raise OddError(1, 2)
        case "unsendable":
            return lambda: None
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
    return item


def pid_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()

"""What libtiff finds wrong with a picture: it prints that, and Pillow takes the rest as it comes.

Here it is a finding of the thread that decodes, and nothing is printed. Where Pillow's libtiff
cannot be reached (it is linked into Pillow on Windows), all stays as Pillow does it.
"""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import _imaging

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
"""TIFFErrorHandler: which function, a format of printf, and a va_list, which is left alone."""

_here = threading.local()


@contextmanager
def tiff_errors() -> Iterator[list[str]]:
    """Collect what libtiff finds wrong in this thread: names of its functions.

    What other threads read with Pillow meanwhile is no business of ours: libtiff prints of that
    what it would have printed.
    """
    _here.found = found = list[str]()
    try:
        yield found
    finally:
        del _here.found


def _listen() -> object:
    """Put a handler before that of libtiff, and return it: it must live as long as libtiff."""
    try:
        exchange = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (AttributeError, OSError):
        return None

    def handle(function: bytes | None, words: bytes | None, values: int | None) -> None:
        found: list[str] | None = getattr(_here, "found", None)
        if found is not None:
            found.append((function or words or b"libtiff").decode(errors="replace"))
        elif before:
            before(function, words, values)

    handler = _Handler(handle)
    exchange.argtypes, exchange.restype = [_Handler], _Handler
    before = exchange(handler)
    return handler


_HANDLER = _listen()

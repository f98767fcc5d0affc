"""Folders that are whole or absent."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protect.errors import OutputError


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill, which gets its name only when all went well.

    It is called `<name>.partial` meanwhile, and removed if something goes wrong. Only a kill leaves
    it behind.

    Args:
        path: The folder to make; it may exist if it is empty.

    Raises:
        OutputError: If it cannot be made because something is there.
    """
    partial = path.with_name(f"{path.name}.partial")
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise OutputError(f"{path} exists and is not an empty folder", "name a new folder with -o")
    if partial.exists():
        raise OutputError(
            f"{partial} is in the way: another command is writing to it, or one was killed",
            "remove it if none is",
        )
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.is_dir():
            path.rmdir()
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise

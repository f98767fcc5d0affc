"""A temporary folder that does not outlive its process for long, not even after `kill -9`.

Each folder holds a file that its process keeps locked; the system lets go of the lock when the
process ends, in whatever way. Who finds one of his own folders with a free lock may remove it.
"""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, which lets nobody remove files that a living process holds open
    LOCKS = False
else:
    LOCKS = True

_LOCK = "in-use.lock"


@contextlib.contextmanager
def workspace(prefix: str) -> Iterator[Path]:
    """Give a temporary folder that is gone afterwards, and remove those of killed processes.

    Args:
        prefix: Start of its name; only folders with it are looked at.
    """
    remove_abandoned(prefix)
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        folder = Path(name)
        with (folder / "new.lock").open("wb") as lock:
            if LOCKS:
                # Locked before it has its name: nobody ever sees the lock of a living process free.
                with contextlib.suppress(OSError):  # a disk without locks
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    (folder / "new.lock").rename(folder / _LOCK)
            yield folder


def remove_abandoned(prefix: str) -> int:
    """Remove temporary folders of this user whose process is gone.

    Folders of others, links, and folders without a lock are left alone, as is everything on a
    system without such locks.

    Returns:
        How many were removed.
    """
    if not LOCKS:
        return 0
    removed = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        # Whatever cannot be looked at or removed is left to its owner.
        with contextlib.suppress(OSError):
            facts = folder.lstat()
            if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
                continue
            with (folder / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
                removed += 1
    return removed

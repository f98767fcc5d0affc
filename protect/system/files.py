"""Files that are whole or absent, locks, digests, and where a path really lies.

Knows nothing of pictures or documents: bytes in, bytes out. Must not import torch or numpy.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from protect.errors import MachineError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_TEMPORARY = re.compile(r"\.protect-[0-9a-f]{16}\.tmp")

_HINTS = {
    errno.ENOSPC: "free some space on that disk, or choose another place",
    errno.EDQUOT: "your quota there is used up: free some space, or choose another place",
    errno.EACCES: "allow yourself to write there and close whatever holds it open, "
    "or choose another place",
    errno.EPERM: "allow yourself to write there, or choose another place",
    errno.EROFS: "that disk is read-only: choose another place",
    errno.ENAMETOOLONG: "choose a shorter path, or shorten the names of the pictures",
    errno.EMFILE: "too many files are open: lower --workers, or raise `ulimit -n`",
}
_OTHER_HINT = "check that disk, or choose another place"
_HELD = (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
"""What the system says of a lock that another process holds."""


def sha256_of(path: Path) -> str:
    """Digest a file without reading it into memory at once.

    Returns:
        64 lower-case hexadecimal digits.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_if_readable(path: Path) -> str:
    """Digest a file as `sha256_of` does; return nothing of one that cannot be read."""
    try:
        return sha256_of(path)
    except OSError:
        return ""


def sha256_of_bytes(data: bytes) -> str:
    """Digest `data` to 64 lower-case hexadecimal digits, as `sha256_of` does a file."""
    return hashlib.sha256(data).hexdigest()


def write_atomically(path: Path, data: bytes, *, is_one_of_many: bool = False) -> None:
    """Write a file so that readers, and a crash, see the old content or the new, never a part.

    Makes the parent folders. The new file gets the permissions that the umask grants.

    Args:
        path: The file.
        data: Its content.
        is_one_of_many: Leave it to `sync_folders`, once for all, that a power cut does not undo
            the writing; until then it may, wholly.

    Raises:
        MachineError: If the operating system refuses; `path` is then as it was before.
    """
    # Short whatever the name of the target, which may already be as long as names can be.
    temporary = path.parent / f".protect-{secrets.token_hex(8)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            # Ctrl-C leaves no litter either.
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _refusal("write", path, error) from error
    if not is_one_of_many:
        _sync_folder(path.parent)


def sync_folders(files: Iterable[Path], root: Path) -> None:
    """See to it that a power cut undoes the writing of none of these files.

    Args:
        files: Files that `write_atomically` wrote below `root` with `is_one_of_many`.
        root: A folder, which may be new as well.
    """
    folders = {root.parent}
    for parent in {file.parent for file in files}:
        folders |= {folder for folder in (parent, *parent.parents) if folder.is_relative_to(root)}
    for folder in sorted(folders):
        _sync_folder(folder)


@contextmanager
def appended_lines(path: Path) -> Iterator[Callable[[str], None]]:
    """Give a function that appends a line to a file and hands it to the system at once.

    A kill or a full disk can cut the last line short, so the first line added is an empty one.

    Raises:
        MachineError: If the operating system refuses.
    """
    try:
        # Unbuffered: what a full disk refused must not be tried again on closing.
        file = path.open("ab", buffering=0)
    except OSError as error:
        raise _refusal("write", path, error) from error

    def append(line: str) -> None:
        rest = memoryview(f"{line}\n".encode())
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError as error:
            raise _refusal("write", path, error) from error

    with file:
        append("")
        yield append


def make_private(folder: Path) -> None:
    """Make a folder for the eyes of this user alone; one that exists keeps its permissions.

    Raises:
        MachineError: If it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _refusal("make", folder, error) from error


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Try to be the only process that holds a file; the system lets go of it even after a kill.

    Makes the file, and its folder as `make_private` does, and removes the file afterwards. A disk
    that knows no locks keeps nobody out.

    Args:
        path: A file for this purpose alone.

    Yields:
        Whether the lock is held; False where another holder has it.

    Raises:
        MachineError: If the file or its folder cannot be made.
    """
    make_private(path.parent)
    try:
        descriptor, is_held = _try_lock(path)
    except OSError as error:
        raise _refusal("write", path, error) from error
    try:
        yield is_held
    finally:
        if is_held and sys.platform != "win32":
            path.unlink(missing_ok=True)
        os.close(descriptor)
        if is_held and sys.platform == "win32":
            # Windows removes no open file; whoever opens it in between is welcome to it.
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _try_lock(path: Path) -> tuple[int, bool]:
    """Open the file, and say whether it is now locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if sys.platform == "win32":
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return descriptor, error.errno not in _HELD
        # The holder before may have removed it between our opening and our locking.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor, True
        os.close(descriptor)


def require_writable(folder: Path, hint: str) -> None:
    """Make sure that files can be written into a folder, which need not exist yet.

    Leaves nothing behind, nor makes the folder.

    Args:
        folder: The folder.
        hint: What to do where they cannot.

    Raises:
        MachineError: If they cannot.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"x")
    except OSError as error:
        raise MachineError(
            f"{folder} cannot be written: {error.strerror or error}", hint
        ) from error


def remove_stale_temporaries(folder: Path, seconds_old: float = 0.0) -> int:
    """Remove what a killed run left half-written anywhere below `folder`.

    Only files named as `write_atomically` names them go. Call it while nothing else writes there,
    or spare those that another process may be writing.

    Args:
        folder: Where to look; need not exist.
        seconds_old: Younger files stay.

    Returns:
        How many files were removed.

    Raises:
        MachineError: If one cannot be removed.
    """
    removed = 0
    for parent, _, names in os.walk(folder):
        for name in filter(_TEMPORARY.fullmatch, names):
            path = Path(parent, name)
            try:
                if seconds_old and time.time() - path.stat().st_mtime < seconds_old:
                    continue
                path.unlink()
            except FileNotFoundError:
                continue  # Another process was quicker.
            except OSError as error:
                raise _refusal("remove", path, error) from error
            removed += 1
    return removed


def real_path(path: Path) -> Path:
    """Return a path, absolute, with links and `..` followed as far as they lead anywhere.

    Unlike `Path.resolve` of Python 3.12 and older, it takes links that lead in a circle: whoever
    then opens the path gets an error that names it.

    Raises:
        ValueError: If no file can have that name.
    """
    return Path(os.path.realpath(path))


def is_within(path: Path, folder: Path) -> bool:
    """Whether `path` is `folder` or lies below it once links and `..` are followed.

    Neither has to exist. A name that no file can have is nowhere.
    """
    try:
        return real_path(path).is_relative_to(real_path(folder))
    except ValueError:  # a null byte
        return False


def stays_below(name: str) -> bool:
    """Whether a path, as it is spelled, leads to no place outside the folder it is relative to.

    Links are not looked at, so that a picture that its owner linked to is where its name says.
    """
    path = Path(name)
    return not (path.is_absolute() or path.drive or ".." in path.parts)


def _refusal(verb: str, path: Path, error: OSError) -> MachineError:
    return MachineError(
        f"cannot {verb} {path}: {error.strerror or error}",
        _HINTS.get(error.errno or 0, _OTHER_HINT),
    )


def _sync_folder(folder: Path) -> None:
    """Make the rename survive a power cut, on systems that can open a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

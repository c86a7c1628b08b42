"""What systems do differently with files; nothing else in the package knows which one it is on.

Linux and macOS have reads and writes at a position, locks and hard links. Windows has none of these
calls, but it neither moves nor removes a file that is open, which serves for a lock, and its rename
refuses a target that exists.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

OPEN_FILES_STAY = os.name == "nt"
"""Whether an open file can neither be moved nor removed."""


def _flags(*names: str) -> int:
    """Return flags of ``os.open`` that this system has; the others have no meaning on it."""
    return sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_BINARY", "O_NOINHERIT", *names))


READ = os.O_RDONLY | _flags("O_NONBLOCK")
"""O_NONBLOCK, here and below: opening a FIFO must not wait for who is at its other end."""
WRITE = os.O_WRONLY | _flags()
_CREATE = WRITE | os.O_CREAT | os.O_EXCL
_HOLD = os.O_WRONLY | _flags("O_NOFOLLOW", "O_NONBLOCK")
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
_POSITION = threading.Lock()


def _read_at(file: int, buffers: Sequence[memoryview], offset: int) -> int:
    """Do what ``os.preadv`` does, for one buffer, by moving the file's position."""
    with _POSITION:
        os.lseek(file, offset, os.SEEK_SET)
        data = os.read(file, len(buffers[0]))
    buffers[0][: len(data)] = data
    return len(data)


def _write_at(file: int, data: memoryview, offset: int) -> int:
    """Do what ``os.pwrite`` does, by moving the file's position."""
    with _POSITION:
        os.lseek(file, offset, os.SEEK_SET)
        return os.write(file, data)


preadv: Any = getattr(os, "preadv", _read_at)
pwrite: Any = getattr(os, "pwrite", _write_at)


def memory(size: int) -> memoryview:
    """Return zeros that take memory only where they are filled, and in this process alone."""
    own = {"flags": mmap.MAP_PRIVATE} if hasattr(mmap, "MAP_PRIVATE") else {}
    return memoryview(mmap.mmap(-1, size, **own))


def leave_cache(file: int, offset: int, length: int) -> None:
    """Set the disk to work on what was written, and free the pages that it is done with."""
    with suppress(OSError, AttributeError):  # advice, which not every system takes
        os.posix_fadvise(file, offset, length, os.POSIX_FADV_DONTNEED)


def create(path: str) -> int:
    """Make an empty file and return a descriptor that holds it as long as it is open.

    Raises:
        OSError: it cannot be made.
    """
    for _ in range(10):
        held = os.open(path, _CREATE, 0o666)
        try:
            if fcntl is not None:
                with suppress(OSError):  # some network file systems have no locks: none is stale
                    fcntl.flock(held, fcntl.LOCK_EX)
            if os.fstat(held).st_nlink:
                return held
        except BaseException:
            os.close(held)
            raise
        os.close(held)  # another run took it for a stale one before it was locked
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def remove_unheld(path: str) -> None:
    """Remove a file that ``create`` made, unless somebody still holds it.

    Raises:
        OSError: somebody does, or it cannot be told.
    """
    if OPEN_FILES_STAY:
        os.unlink(path)
        return
    if fcntl is None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    held = os.open(path, _HOLD)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(held), os.lstat(path)):
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))  # another run's by now
        os.unlink(path)
    finally:
        os.close(held)


def move(temporary: str, target: str, *, replace: bool) -> None:
    """Give a file its name; without ``replace``, only if no other has it.

    Raises:
        OSError: FileExistsError, or the file system refuses.
    """
    if replace:
        os.replace(temporary, target)
    elif OPEN_FILES_STAY:
        os.rename(temporary, target)
    elif not _linked(temporary, target):
        if os.path.lexists(target):  # as safe as it gets where there are no hard links
            raise FileExistsError
        os.replace(temporary, target)


def _linked(path: str, name: str) -> bool:
    """Give a file a second name, if no other has it; return False where there are no hard links."""
    try:
        os.link(path, name)
    except AttributeError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    return True


def sync(file: int) -> None:
    """Return when a file that is open for writing is on the disk itself.

    Raises:
        OSError: it could not be brought there.
    """
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS, whose fsync leaves it in the cache of the disk
        with suppress(OSError):  # not every file system has it
            fcntl.fcntl(file, fcntl.F_FULLFSYNC)
            return
    os.fsync(file)


def sync_folder(path: str) -> None:
    """Return when the names in a folder are on the disk; Windows has no such call.

    Raises:
        OSError: they could not be brought there.
    """
    if OPEN_FILES_STAY:
        return
    folder = os.open(path, os.O_RDONLY | _flags())
    try:
        sync(folder)
    finally:
        os.close(folder)

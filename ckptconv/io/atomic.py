"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ckptconv.errors import ContainerError
from ckptconv.io.reader import Source

_TEMPORARY = re.compile(r"\d+-[0-9a-f]{8}\.part")
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)


def check_target(path: str | os.PathLike[str], sources: Sequence[Source], *, force: bool) -> None:
    """Refuse a target that is one of the sources, a folder, or exists already.

    Raises:
        ContainerError: as said, before anything is written.
    """
    if any(source.same_file(path) for source in sources):
        raise ContainerError("the target is the source itself", file=path, hint="another name")
    if os.path.isdir(path):
        raise ContainerError("cannot be written: it is a directory", file=path)
    if os.path.lexists(path) and not force:
        raise ContainerError("exists already", file=path, hint="--force to replace it")


@contextmanager
def atomic_path(path: str | os.PathLike[str], *, force: bool) -> Iterator[str]:
    """Yield a temporary path beside ``path``; on success sync it and move it into place.

    On any failure or interrupt the temporary file is removed and ``path`` is as it was. What a
    killed run left behind is removed by the next one for the same target.

    Raises:
        ContainerError: the target cannot be written, or appeared meanwhile without ``force``.
    """
    target = os.path.realpath(path) if os.path.islink(path) else os.fspath(path)
    folder, name = os.path.split(target)
    stem, lock = f".{os.fsdecode(os.fsencode(name)[:200])}.", -1
    temporary = os.path.join(folder, f"{stem}{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        _remove_stale(folder, stem)
        lock = _create(temporary)
        yield temporary
        _sync(temporary)
        _move(temporary, target, force=force)
        _sync(folder or ".")
    except FileExistsError:
        raise ContainerError("exists already", file=path, hint="--force to replace it") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ContainerError(f"cannot be written: {reason}", file=path) from error
    finally:
        with suppress(OSError):
            os.unlink(temporary)
        if lock >= 0:
            os.close(lock)


def _create(temporary: str) -> int:
    """Make an empty file and return the descriptor whose lock says that it is in use.

    Raises:
        OSError: it cannot be made.
    """
    for _ in range(10):
        lock = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with suppress(OSError):  # some network file systems have no locks, and then none is stale
            fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            return lock
        os.close(lock)  # another run took it for a stale one before it was locked
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _remove_stale(folder: str, stem: str) -> None:
    """Remove temporary files that nobody holds a lock on: their runs were killed."""
    for name in os.listdir(folder or "."):
        if _TEMPORARY.fullmatch(name.removeprefix(stem)) and name.startswith(stem):
            with suppress(OSError):
                left = os.path.join(folder, name)
                lock = os.open(left, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(left)
                finally:
                    os.close(lock)


def _move(temporary: str, target: str, *, force: bool) -> None:
    """Give the file its name; without ``force``, only if no other has it.

    Raises:
        OSError: FileExistsError, or the file system refuses.
    """
    if not force:
        try:
            os.link(temporary, target)
            return
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        if os.path.lexists(target):  # as safe as it gets where there are no hard links
            raise FileExistsError
    os.replace(temporary, target)


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

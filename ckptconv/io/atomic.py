"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ckptconv.errors import ContainerError, exists_already
from ckptconv.io import platform
from ckptconv.io.reader import Source

_NAME = 200
"""Bytes of a target's name in that of its temporary file: 255 are the most that one can have."""


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
        raise exists_already(path)


@contextmanager
def atomic_path(
    path: str | os.PathLike[str], *, force: bool, durable: bool = True
) -> Iterator[str]:
    """Yield a temporary path beside ``path``; on success sync it and move it into place.

    On any failure or interrupt the temporary file is removed and ``path`` is as it was. What a
    killed run left behind is removed by the next one for the same target.

    Args:
        durable: return when the file is on the disk itself; another survives the end of a process,
            and after a power failure may be as it was before.

    Raises:
        ContainerError: the target cannot be written, or appeared meanwhile without ``force``.
    """
    if "\0" in os.fspath(path):
        raise ContainerError("cannot be written: no file can have this name", file=path)
    target = _followed(path)
    folder, stem = os.path.dirname(target), _stem(target)
    name, temporary, held = "", "", -1
    try:
        while held < 0:
            name = _free_name(stem)
            with suppress(FileExistsError):  # another run was quicker
                held, temporary = platform.create(name), name
        yield temporary
        if durable:
            platform.sync(temporary)
        if platform.OPEN_FILES_STAY:
            held = _close(held)
        platform.move(temporary, target, replace=force)
        if durable:
            platform.sync_folder(folder or ".")
    except FileExistsError:
        raise exists_already(path) from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ContainerError(f"cannot be written: {reason}", file=path) from error
    finally:
        with suppress(OSError):
            if not temporary:  # stopped while it was being made: it is not held then
                platform.remove_unheld(name)
            # Once it is moved, another run may have its name.
            ours = held < 0 or os.path.samestat(os.fstat(held), os.lstat(temporary))
            held = _close(held) if platform.OPEN_FILES_STAY else held
            if ours:
                os.unlink(temporary)
        _close(held)


def begun(path: str) -> bool:
    """Tell whether a run began to write ``path`` and did not end: it was killed, or goes on.

    It cannot be told for a name that a temporary file's does not hold whole.
    """
    target = _followed(path)
    whole = len(os.fsencode(os.path.basename(target))) <= _NAME
    return whole and os.path.lexists(f"{_stem(target)}.0.part")


def _followed(path: str | os.PathLike[str]) -> str:
    return os.path.realpath(path) if os.path.islink(path) else os.fspath(path)


def _stem(target: str) -> str:
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{os.fsdecode(os.fsencode(name)[:_NAME])}")


def _free_name(stem: str) -> str:
    """Return the first of ``stem.0.part``, ``stem.1.part``, … that no other run has.

    Those that nobody holds are removed: their runs were killed. No folder is listed for that, in
    which thousands of others may be at work.
    """
    free: list[str] = []
    number = 0
    while os.path.lexists(path := f"{stem}.{number}.part"):
        with suppress(OSError):
            platform.remove_unheld(path)
            free.append(path)
        number += 1
    return free[0] if free else path


def _close(held: int) -> int:
    if held >= 0:
        os.close(held)
    return -1

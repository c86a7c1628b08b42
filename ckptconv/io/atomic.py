"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ckptconv.errors import ContainerError
from ckptconv.io import platform
from ckptconv.io.reader import Source

_TEMPORARY = re.compile(r"\d+-[0-9a-f]{8}\.part")


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
    stem, held = f".{os.fsdecode(os.fsencode(name)[:200])}.", -1
    temporary = os.path.join(folder, f"{stem}{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        _remove_stale(folder, stem)
        held = platform.create(temporary)
        yield temporary
        platform.sync(temporary)
        if platform.OPEN_FILES_STAY:
            held = _close(held)
        platform.move(temporary, target, replace=force)
        platform.sync_folder(folder or ".")
    except FileExistsError:
        raise ContainerError("exists already", file=path, hint="--force to replace it") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ContainerError(f"cannot be written: {reason}", file=path) from error
    finally:
        _close(held)
        with suppress(OSError):
            os.unlink(temporary)


def _remove_stale(folder: str, stem: str) -> None:
    """Remove temporary files that nobody holds: their runs were killed."""
    for name in os.listdir(folder or "."):
        if _TEMPORARY.fullmatch(name.removeprefix(stem)) and name.startswith(stem):
            with suppress(OSError):
                platform.remove_unheld(os.path.join(folder, name))


def _close(held: int) -> int:
    if held >= 0:
        os.close(held)
    return -1

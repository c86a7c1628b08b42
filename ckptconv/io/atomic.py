"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from ckptconv.errors import ContainerError, StrPath, exists_already
from ckptconv.io import platform
from ckptconv.io.reader import Source

_NAME = 200
"""Bytes of a target's name in that of its temporary file: 255 are the most that one can have."""


def check_target(path: StrPath, sources: Sequence[Source], *, force: bool) -> None:
    """Refuse a target that is one of the sources, a folder, or exists already.

    Raises:
        ContainerError: as said, before anything is written.
    """
    if any(source.same_file(path) for source in sources):
        raise ContainerError("the target is the source itself", file=path, hint="another name")
    if os.path.isdir(path):
        inside = os.path.join(path, os.path.basename(os.path.normpath(path)))
        raise ContainerError("cannot be written: it is a folder", file=path, hint=inside)
    if os.path.lexists(path) and not force:
        raise exists_already(path)


@contextmanager
def atomic_path(path: StrPath, *, force: bool, durable: bool = True) -> Iterator[str]:
    """Yield a temporary path beside ``path``; on success sync it and move it into place.

    On any failure or interrupt the temporary file is removed and ``path`` is as it was. What a
    killed run left behind is removed by the next one for the same target.

    Args:
        durable: return when the file is on the disk itself; another survives the end of a process,
            and after a power failure may be as it was before.

    Raises:
        ContainerError: the target cannot be written, or appeared meanwhile without ``force``.
    """
    file, files = _File(path, force=force, durable=durable), _gathering.get()
    waits = False
    try:
        with _refusals(path):
            yield file.begin()
        if files is None:
            file.take_name()
            file.sync_folder(set())
        else:
            files.append(file)
            waits = True
            file.set_disk_to_work()
    finally:
        if not waits:
            file.discard()


class Files:
    """Whole files that wait under temporary names, so that the disk is waited for once for many.

    Who writes them is ``gathered``; ``close`` ends it, whatever happened.
    """

    def __init__(self) -> None:
        self._files: list[_File] = []

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Let each ``atomic_path`` inside leave its file here instead of giving it its name."""
        token = _gathering.set(self._files)
        try:
            yield
        finally:
            _gathering.reset(token)

    def take_names(self) -> None:
        """Sync every file and move it into place.

        Raises:
            ContainerError: as ``atomic_path`` does.
        """
        for file in self._files:
            file.take_name()

    def sync_folders(self, done: set[str]) -> None:
        """Sync the folders of the names, but those that are ``done``, and add them.

        Raises:
            ContainerError: they could not be brought to the disk.
        """
        for file in self._files:
            file.sync_folder(done)

    def close(self) -> None:
        """Remove every file that did not take its name."""
        for file in self._files:
            file.discard()


class _File:
    """A temporary file, which its run holds until it has its name or is gone."""

    def __init__(self, path: StrPath, *, force: bool, durable: bool) -> None:
        self._path, self._force, self._durable = path, force, durable
        self._target = _followed(path)
        self._name, self._temporary, self._held = "", "", -1

    def begin(self) -> str:
        check_name(self._target, "written")
        stem = _stem(self._target)
        while self._held < 0:
            self._name = _free_name(stem)
            with suppress(FileExistsError):  # another run was quicker
                self._held, self._temporary = platform.create(self._name), self._name
        return self._temporary

    def set_disk_to_work(self) -> None:
        """Let it be written while others are made: little is left to wait for then."""
        if self._durable:
            platform.leave_cache(self._held, 0, 0)

    def take_name(self) -> None:
        with _refusals(self._path):
            if self._durable:
                platform.sync(self._held)
            if platform.OPEN_FILES_STAY:
                self._let_go()
            platform.move(self._temporary, self._target, replace=self._force)

    def sync_folder(self, done: set[str]) -> None:
        folder = os.path.dirname(self._target) or "."
        if self._durable and folder not in done:
            with _refusals(self._path):
                platform.sync_folder(folder)
            done.add(folder)

    def discard(self) -> None:
        with suppress(OSError):
            if not self._temporary:  # stopped while it was being made: it is not held then
                platform.remove_unheld(self._name)
            # Once it is moved, another run may have its name.
            held, path = self._held, self._temporary
            ours = held < 0 or os.path.samestat(os.fstat(held), os.lstat(path))
            if platform.OPEN_FILES_STAY:
                self._let_go()
            if ours:
                os.unlink(path)
        self._let_go()

    def _let_go(self) -> None:
        held, self._held = self._held, -1  # first: a signal amid it must not have it closed twice
        if held >= 0:
            os.close(held)


_gathering: ContextVar[list[_File] | None] = ContextVar("gathering", default=None)


@contextmanager
def _refusals(path: StrPath) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise exists_already(path) from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ContainerError(f"cannot be written: {reason}", file=path) from error


def check_name(path: str, verb: str) -> None:
    """Refuse what no file can be called.

    Raises:
        ContainerError: NUL, or half a character, in ``path``, so that it cannot be ``verb``.
    """
    try:
        if b"\0" not in os.fsencode(path):
            return
    except UnicodeEncodeError:
        pass
    raise ContainerError(f"cannot be {verb}: no file can have this name", file=path)


def begun(path: str) -> bool:
    """Tell whether a run began to write ``path`` and did not end: it was killed, or goes on.

    It cannot be told for a name that a temporary file's does not hold whole.
    """
    target = _followed(path)
    whole = len(os.fsencode(os.path.basename(target))) <= _NAME
    return whole and os.path.lexists(f"{_stem(target)}.0.part")


def _followed(path: StrPath) -> str:
    return os.path.realpath(path) if os.path.islink(path) else os.fsdecode(path)


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

"""Reading bytes from files that may be hostile, huge, or change underneath."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

from isal.isal_zlib import crc32

from ckptconv.errors import ContainerError, StrPath
from ckptconv.io import platform
from ckptconv.io.apart import Apart

PIECE = 256 << 10
"""Fits the second-level cache, so that what is read is still there to be summed and written."""
_LARGE = 16 << 20
"""Bytes that are read by two threads: one processor copies them slower than memory takes them."""
Update = Callable[[memoryview], None]


class Span(NamedTuple):
    """A run of bytes in an open file, or in a window on it; ``offset`` counts from its start."""

    file: Source
    offset: int
    length: int


class Source:
    """Bytes of a regular file, or of a part of one, read at explicit offsets.

    Plain reads rather than a memory map: a file that is truncated while it is mapped kills the
    process, and mapped pages count as resident memory.

    Attributes:
        path: for messages.
        base: where in the file the bytes begin.
        size: how many they are.
    """

    path: str
    base = 0
    size: int
    _fd = -1
    _identity = (0, 0, 0, 0)
    _lost = ""
    """Why a file was not opened again in another process."""
    _whole: Source | None = None
    """What this is a part of; never itself: a cycle would keep the file open for long."""

    def window(self, offset: int, size: int) -> Source:
        """Return a Source over ``size`` bytes from ``offset``: a stored member of an archive.

        Raises:
            ContainerError: the range is not inside the file.
        """
        return Window(self, offset, size)

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset``; refuse before allocating."""
        self._require(offset, length)
        self.read_into(memoryview(buffer := bytearray(length)), offset)
        return bytes(buffer)

    def head(self, length: int) -> bytes:
        """Return up to ``length`` first bytes."""
        return self.read(0, min(length, self.size))

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill ``buffer`` (of bytes) from ``offset``."""
        self._require(offset, len(buffer))
        if len(buffer) < _LARGE:
            self._take(buffer, offset)
            return
        half = len(buffer) // 2
        rest = Apart(partial(self._take, buffer[half:], offset + half))
        try:
            self._take(buffer[:half], offset)
        finally:
            rest.finish()

    def _take(self, view: memoryview, offset: int) -> None:
        position = self.base + offset
        while len(view):
            try:
                count = platform.preadv(self._fd, [view[: 1 << 30]], position)
            except OSError as error:
                lost = (self._whole or self)._lost
                reason = f"cannot be read: {lost or error.strerror}"
                raise ContainerError(reason, file=self.path) from error
            if count == 0:
                raise ContainerError("the file was truncated while being read", file=self.path)
            view, position = view[count:], position + count

    def read_runs(self, buffer: memoryview, offsets: Sequence[int]) -> None:
        """Fill ``buffer`` (of bytes) with runs of equal length, each from its own offset."""
        width = len(buffer) // max(1, len(offsets))
        self._require(min(offsets, default=0), width)
        self._require(max(offsets, default=0), width)
        fd, base = self._fd, self.base
        try:
            for i, offset in enumerate(offsets):
                part = buffer[i * width : (i + 1) * width]
                if platform.preadv(fd, (part,), base + offset) != width:
                    self.read_into(part, offset)  # a short read: go on, or say that it ends here
        except OSError:
            for i, offset in enumerate(offsets):  # which says what is wrong
                self.read_into(buffer[i * width : (i + 1) * width], offset)

    def span(self, offset: int, length: int) -> Span:
        """Return the checked byte range as seen from the whole file."""
        self._require(offset, length)
        return Span(self._whole or self, self.base + offset, length)

    def crc32(self, offset: int, length: int) -> int:
        """Return the CRC-32 of a byte range."""
        buffer, crc = memoryview(bytearray(min(length, PIECE))), 0
        for start in range(0, length, PIECE):
            part = buffer[: min(PIECE, length - start)]
            self.read_into(part, offset + start)
            crc = crc32(part, crc)
        return crc

    def passing(self, _offset: int, _length: int, /) -> AbstractContextManager[Update | None]:
        """Return a context around a copy of these bytes.

        It gives a function to call with each piece in turn, or None if there is nothing to check;
        leaving it raises ContainerError where the file keeps a checksum that the bytes do not have.
        """
        return nullcontext()

    def check_unchanged(self) -> None:
        """Raise ContainerError if the file was changed since it was opened."""
        if _identity(os.fstat(self._fd)) != self._identity:
            raise ContainerError("the file was changed while being read", file=self.path)

    def same_file(self, path: StrPath) -> bool:
        """Tell whether ``path`` is this very file (also through links)."""
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(path))
        except (OSError, ValueError):
            return False

    def _require(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ContainerError(
                "truncated or damaged",
                file=self.path,
                expected=f"{length} bytes at offset {offset}",
                found=f"{max(0, self.size - offset)} left of {self.size}",
            )

    def close(self) -> None:
        """Let go of the file, unless this is a part of one."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave the descriptor behind: in another process its number is another file's."""
        return {**vars(self), "_fd": -1}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self._whole is not None:
            self._fd = self._whole._fd


class Owner(Source):
    """A Source with a descriptor of its own, which is closed with it."""

    _close = staticmethod(os.close)  # is here still when Python ends and ``os`` is not

    def close(self) -> None:
        """Let go of the file; nothing can be read from it, nor from its windows, any more."""
        fd, self._fd = self._fd, -1  # first: a signal amid it must not have it closed twice
        if fd >= 0:
            self._close(fd)

    def __del__(self) -> None:
        self.close()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the file again, if it still is what it was; else nothing can be read from it."""
        super().__setstate__(state)
        try:
            self._fd = os.open(self.path, platform.READ)
        except OSError as error:
            self._lost = f"{error.strerror}, where it was opened before"
        else:
            if _identity(os.fstat(self._fd)) != self._identity:
                self._lost = "the file was changed since it was opened"
                self.close()


class File(Owner):
    """A file.

    Raises:
        ContainerError: the path cannot be opened or is not a regular file.
    """

    def __init__(self, path: StrPath) -> None:
        self.path = os.fsdecode(path)
        try:
            self._fd = os.open(self.path, platform.READ)
            info = os.fstat(self._fd)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ContainerError(f"cannot be opened: {reason}", file=self.path) from None
        if not stat.S_ISREG(info.st_mode):
            what = "a directory" if stat.S_ISDIR(info.st_mode) else "not a regular file"
            raise ContainerError("not a checkpoint", file=self.path, expected="a file", found=what)
        self.size = info.st_size
        self._identity = _identity(info)


class Window(Source):
    """A part of another Source, which it keeps open."""

    def __init__(self, source: Source, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > source.size:
            raise ContainerError(
                "a part reaches beyond the end of the file",
                file=source.path,
                expected=f"at most {source.size} bytes",
                found=f"{size} bytes at {offset}",
            )
        self.path, self.base, self.size = source.path, source.base + offset, size
        self._whole = source._whole or source
        self._fd, self._identity = source._fd, source._identity


def _identity(info: os.stat_result) -> tuple[int, int, int, int]:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns

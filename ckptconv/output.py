"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import numpy as np

from ckptconv.errors import ContainerError
from ckptconv.source import Alongside, Source, Span
from ckptconv.tensor import BLOCK, Tensor

_GATHER = 1 << 20
Progress = Callable[[int], None]
"""Called with the number of bytes just written."""


class Sink:
    """A sequential output file that counts its position; small writes are gathered."""

    def __init__(self, fd: int, progress: Progress | None = None) -> None:
        self._fd, self._progress = fd, progress
        self._pending = bytearray()
        self.position = 0

    def write(self, data: bytes | memoryview) -> None:
        self._pending += data
        self._advance(len(data))
        if len(self._pending) >= _GATHER:
            self.flush()

    def flush(self) -> None:
        """Hand what is gathered to the kernel."""
        pending, self._pending = memoryview(self._pending), bytearray()
        _write_all(self._fd, pending)

    def seek(self, offset: int) -> None:
        """Go on writing at ``offset``, over or beyond what is there."""
        self.flush()
        self.position = os.lseek(self._fd, offset, os.SEEK_SET)

    def write_tensor(self, tensor: Tensor, *, crc: int | None = None) -> int:
        """Write a tensor's bytes; with ``crc`` given, return it continued over them."""
        spans = tensor.extents()
        if spans is None:
            for block in tensor.blocks():
                crc = self._write_block(block.reshape(-1).view(np.uint8).data, crc)
            return crc or 0
        for span in spans:
            with span.file.checking():
                crc = self._write_span(span, crc)
        return crc or 0

    def patch(self, offset: int, data: bytes) -> None:
        """Overwrite bytes written earlier: a field that is known only at the end."""
        start = offset - (self.position - len(self._pending))
        if start < 0:
            self.flush()
            os.pwrite(self._fd, data, offset)
        else:
            self._pending[start : start + len(data)] = data

    def _write_span(self, span: Span, crc: int | None) -> int | None:
        if span.length < _GATHER:
            return self._copy_through(span, crc)
        self.flush()
        if crc is None:
            self._copy(span)
            return None
        checksum = Alongside(partial(span.file.crc32, span.offset, span.length, crc))
        self._copy(span)
        return checksum.result()

    def _write_block(self, view: memoryview, crc: int | None) -> int | None:
        if len(view) < _GATHER:
            self.write(view)
        else:
            self.flush()
            _write_all(self._fd, view)
            self._advance(len(view))
        return zlib.crc32(view, crc) if crc is not None else None

    def _copy(self, span: Span) -> None:
        """Let the kernel copy; it refuses across some file systems, then Python does it."""
        offset, left = span.file.base + span.offset, span.length
        while left:
            try:
                count = os.copy_file_range(span.file.fileno(), self._fd, min(left, BLOCK), offset)
            except (OSError, AttributeError):
                self._copy_through(Span(span.file, offset - span.file.base, left), None)
                return
            if count == 0:
                raise ContainerError("the file was truncated while being read", file=span.file.path)
            offset, left = offset + count, left - count
            self._advance(count)

    def _copy_through(self, span: Span, crc: int | None) -> int | None:
        buffer = np.empty(min(span.length, _GATHER), np.uint8)
        for start in range(0, span.length, _GATHER):
            part = buffer[: min(_GATHER, span.length - start)]
            span.file.read_into(part, span.offset + start)
            crc = self._write_block(part.data, crc)
        return crc

    def _advance(self, count: int) -> None:
        self.position += count
        if self._progress is not None:
            self._progress(count)


def check_target(path: str | os.PathLike[str], sources: list[Source], *, force: bool) -> None:
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

    On any failure or interrupt the temporary file is removed and ``path`` is as it was.

    Raises:
        ContainerError: the target cannot be written, or appeared meanwhile without ``force``.
    """
    target = os.path.realpath(path) if os.path.islink(path) else os.fspath(path)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name[:200]}.{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        yield temporary
        _sync(temporary)
        if force:
            os.replace(temporary, target)
        else:
            os.link(temporary, target)
        _sync(folder or ".")
    except FileExistsError:
        raise ContainerError("exists already", file=path, hint="--force to replace it") from None
    except OSError as error:
        raise ContainerError(f"cannot be written: {error.strerror}", file=path) from error
    finally:
        with suppress(OSError):
            os.unlink(temporary)


@contextmanager
def open_sink(path: str, progress: Progress | None = None) -> Iterator[Sink]:
    """Open the temporary file that ``atomic_path`` made for sequential writing."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        sink = Sink(fd, progress)
        yield sink
        sink.flush()
    finally:
        os.close(fd)


def _write_all(fd: int, view: memoryview) -> None:
    while len(view):
        view = view[os.write(fd, view) :]


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

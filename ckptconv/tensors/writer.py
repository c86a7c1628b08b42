"""Streaming bytes into a file about as fast as the disk takes them.

A plain copy fills the page cache and then waits for the disk, in ``fsync``. Here a thread writes
what another has read and summed, and every few megabytes tells the kernel to bring it to the disk
and to give up what is there (``posix_fadvise``): the disk works all the time, and few pages are in
use. Pieces fit the processor's cache; a copy inside the kernel (``copy_file_range``) is slower.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from isal.isal_zlib import crc32

from ckptconv.errors import StrPath
from ckptconv.io import platform
from ckptconv.io.atomic import atomic_path
from ckptconv.io.reader import PIECE, Span
from ckptconv.tensors.regions import Array, contiguous, copy, whole
from ckptconv.tensors.tensor import Tensor

Progress = Callable[[int], None]
"""Called with the number of bytes just written."""

_SIZE, _WAITING = 2 << 20, 3
"""Bytes that are gathered before they are handed over; buffers that may wait to be written."""
_WRITE = 512 << 10
"""Bytes of one write; longer ones were measured to be slower, by up to a half."""
_STEP = 8 << 20
"""Bytes after which the disk is set to work."""
_WINDOW = 128 << 20
"""Bytes of the page cache that are in use at a time."""

Bytes = npt.NDArray[np.uint8]


class Sink:
    """A file that is filled from front to back, with seeks forward.

    Attributes:
        position: the offset that the next byte goes to.
    """

    def __init__(self, path: str, progress: Progress | None = None) -> None:
        self._writer, self._progress = _Writer(path), progress
        self._buffer = np.empty(_SIZE, np.uint8)
        self._base = self._fill = 0
        self._patches: list[tuple[int, bytes]] = []

    @property
    def position(self) -> int:
        return self._base + self._fill

    def write(self, data: bytes | memoryview) -> None:
        """Write bytes."""
        if (stop := self._fill + len(data)) <= _SIZE:
            self._buffer.data[self._fill : stop] = data
            self._fill = stop
            return
        left = np.frombuffer(data, np.uint8)
        for room in self._rooms(left.size):
            room[:], left = left[: room.size], left[room.size :]

    def write_tensor(self, tensor: Tensor, *, crc: int | None = None) -> int:
        """Write a tensor's bytes; with ``crc`` given, return it continued over them."""
        spans = tensor.extents()
        for piece in self._compute(tensor) if spans is None else self._copy(spans):
            if crc is not None:
                crc = crc32(piece, crc)
        return crc or 0

    def seek(self, offset: int) -> None:
        """Go on writing at ``offset``; what stands between is left as it is."""
        if offset != self.position:
            self._flush()
            self._base = offset

    def patch(self, offset: int, data: bytes) -> None:
        """Overwrite bytes written earlier, in the end: a field that is known only now."""
        self._patches.append((offset, data))

    def finish(self) -> None:
        """Write what is left.

        Raises:
            OSError: the file could not be written.
        """
        self._flush()
        self._writer.finish(self._patches)

    def close(self) -> None:
        self._writer.close()

    def _copy(self, spans: list[Span]) -> Iterator[Bytes]:
        """Copy bytes of files, and hold them against the checksums the files have of them."""
        for source, offset, length in spans:
            stop = self._fill + length
            if length <= PIECE and stop <= _SIZE:  # read at once, and so checked before it is here
                source.read_into(room := self._buffer[self._fill : stop], offset)
                self._fill = stop
                yield room
                continue
            with source.passing(offset, length) as check:
                for room in self._rooms(length):
                    source.read_into(room, offset)
                    if check is not None:
                        check(room.data)
                    yield room
                    offset += room.size

    def _compute(self, tensor: Tensor) -> Iterator[Bytes]:
        """Write values in groups of rows, brought into order in the buffer itself."""
        for part in _parts(tensor):
            if PIECE <= part.nbytes <= _SIZE:
                self._flush()
                data, self._fill = self._buffer[: part.nbytes], part.nbytes
                copy(part, data.view(part.dtype).reshape(part.shape))
            else:
                data = contiguous(part).reshape(-1).view(np.uint8)
                self.write(data.data)
            yield data
            del part  # it keeps the whole piece, and the next one is as large

    def _rooms(self, wanted: int) -> Iterator[Bytes]:
        """Yield pieces of the buffers to fill, ``wanted`` bytes in all, which count as written."""
        while wanted:
            if self._fill == _SIZE:
                self._flush()
            size = min(wanted, PIECE - self._fill % PIECE)
            room = self._buffer[self._fill : self._fill + size]
            self._fill += size
            wanted -= size
            yield room

    def _flush(self) -> None:
        if self._fill:
            self._buffer = self._writer.write(self._buffer, self._fill, self._base)
            if self._progress is not None:
                self._progress(self._fill)
            self._base, self._fill = self.position, 0


class _Writer:
    """Writes buffers in a thread of its own; its first error is raised where it is noticed."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, platform.WRITE)
        self._full: queue.SimpleQueue[tuple[Bytes, int, int] | None] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[Bytes] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._begun = 0

    def write(self, buffer: Bytes, count: int, offset: int) -> Bytes:
        """Have the first ``count`` bytes written at ``offset``; return a buffer to fill next.

        Raises:
            OSError: what kept these or earlier ones from being written.
        """
        if count < PIECE:  # sooner done than handed over
            _write_all(self._file, buffer[:count].data, offset)
            return buffer
        self._start()
        self._full.put((buffer, count, offset))
        written = self._free.get()
        if self._error is not None:
            raise self._error
        return written

    def finish(self, patches: list[tuple[int, bytes]]) -> None:
        self._join()
        if self._error is not None:
            raise self._error
        for offset, data in patches:
            _write_all(self._file, memoryview(data), offset)

    def close(self) -> None:
        self._join()
        os.close(self._file)

    def _start(self) -> None:
        if self._thread is None:
            for _ in range(_WAITING):
                self._free.put(np.empty(_SIZE, np.uint8))
            (thread := threading.Thread(target=self._run, daemon=True)).start()
            self._thread = thread  # not before: nothing to wait for if that was interrupted

    def _join(self) -> None:
        self._full.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (item := self._full.get()) is not None:
            buffer, count, offset = item
            try:
                if self._error is None:
                    _write_all(self._file, buffer[:count].data, offset)
                    self._begin_writing(offset + count)
            except BaseException as error:
                self._error = error
            self._free.put(buffer)

    def _begin_writing(self, stop: int) -> None:
        """Set the disk to work on what was written, and free the pages that it is done with."""
        if stop - self._begun >= _STEP:
            self._begun, first = stop, max(0, stop - _WINDOW)
            platform.leave_cache(self._file, first, stop - first)


def _write_all(file: int, view: memoryview, offset: int) -> None:
    while len(view):
        count = platform.pwrite(file, view[:_WRITE], offset)
        view, offset = view[count:], offset + count


def _parts(tensor: Tensor) -> Iterator[Array]:
    """Yield a tensor's values as groups of rows that fit a buffer, in any memory layout."""
    if tensor.nbytes <= _SIZE:
        yield tensor.read(whole(tensor.shape))
        return
    for piece in tensor.pieces():
        rows = max(1, len(piece) * _SIZE // piece.nbytes)
        for start in range(0, len(piece), rows):
            yield piece[start : start + rows]
        del piece


def write_text(path: StrPath, text: str, *, force: bool, durable: bool = True) -> None:
    """Write a whole text file, as UTF-8: all of it, or none; see ``atomic_path``."""
    made = atomic_path(path, force=force, durable=durable)
    with made as temporary, open_sink(temporary) as sink:
        sink.write(text.encode())


@contextmanager
def open_sink(path: str, progress: Progress | None = None) -> Iterator[Sink]:
    """Open an existing file for streaming; an error in the body leaves it half written."""
    sink = Sink(path, progress)
    try:
        yield sink
        sink.finish()
    finally:
        sink.close()

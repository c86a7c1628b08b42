"""Streaming bytes into a file about as fast as the disk takes them.

A plain copy fills the page cache and then waits for the disk, in ``fsync``. Here a thread writes
what another has read and summed, and every few megabytes tells the kernel to bring it to the disk
and to give up what is there (``posix_fadvise``): the disk works all the time, and few pages are in
use. Pieces fit the processor's cache; a copy inside the kernel (``copy_file_range``) is slower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from isal.isal_zlib import crc32

from ckptconv.errors import StrPath
from ckptconv.io.atomic import atomic_path
from ckptconv.io.behind import SIZE, Behind, new_buffer
from ckptconv.io.reader import PIECE, Span
from ckptconv.tensors.lazy import np
from ckptconv.tensors.regions import Array, bytes_of, contiguous, copy, whole
from ckptconv.tensors.tensor import Tensor

Progress = Callable[[int], None]
"""Called with the number of bytes just written."""


class Sink:
    """A file that is filled from front to back, with seeks forward.

    Attributes:
        position: the offset that the next byte goes to.
    """

    def __init__(self, path: str, progress: Progress | None = None) -> None:
        self._writer, self._progress = Behind(path), progress
        self._buffer = new_buffer()
        self._base = self._fill = 0
        self._patches: list[tuple[int, bytes]] = []

    @property
    def position(self) -> int:
        return self._base + self._fill

    def write(self, data: bytes | memoryview) -> None:
        """Write bytes."""
        if (stop := self._fill + len(data)) <= SIZE:
            self._buffer[self._fill : stop] = data
            self._fill = stop
            return
        left = memoryview(data)
        for room in self._rooms(len(left)):
            room[:], left = left[: len(room)], left[len(room) :]

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

    def _copy(self, spans: list[Span]) -> Iterator[memoryview]:
        """Copy bytes of files, and hold them against the checksums the files have of them."""
        for source, offset, length in spans:
            stop = self._fill + length
            if length <= PIECE and stop <= SIZE:  # read at once, and so checked before it is here
                source.read_into(room := self._buffer[self._fill : stop], offset)
                self._fill = stop
                yield room
                continue
            with source.passing(offset, length) as check:
                for room in self._rooms(length):
                    source.read_into(room, offset)
                    if check is not None:
                        check(room)
                    yield room
                    offset += len(room)

    def _compute(self, tensor: Tensor) -> Iterator[memoryview]:
        """Write values in groups of rows, brought into order in the buffer itself."""
        for part in _parts(tensor):
            if PIECE <= part.nbytes <= SIZE:
                self._flush()
                data, self._fill = self._buffer[: part.nbytes], part.nbytes
                copy(part, np.frombuffer(data, part.dtype).reshape(part.shape))
            else:
                data = bytes_of(contiguous(part))
                self.write(data)
            yield data
            del part  # it keeps the whole piece, and the next one is as large

    def _rooms(self, wanted: int) -> Iterator[memoryview]:
        """Yield pieces of the buffers to fill, ``wanted`` bytes in all, which count as written."""
        while wanted:
            if self._fill == SIZE:
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


def _parts(tensor: Tensor) -> Iterator[Array]:
    """Yield a tensor's values as groups of rows that fit a buffer, in any memory layout."""
    if tensor.nbytes <= SIZE:
        yield tensor.read(whole(tensor.shape))
        return
    for piece in tensor.pieces():
        rows = max(1, len(piece) * SIZE // piece.nbytes)
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

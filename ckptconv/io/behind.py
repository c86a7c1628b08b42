"""Writing in a thread of its own: the disk works while the next bytes are read."""

from __future__ import annotations

import os
import queue
import threading

from ckptconv.io import platform
from ckptconv.io.reader import PIECE

SIZE, _WAITING = 2 << 20, 3
"""Bytes of a buffer; how many may wait to be written."""
_WRITE = 512 << 10
"""Bytes of one write; longer ones were measured to be slower, by up to a half."""
_STEP = 8 << 20
"""Bytes after which the disk is set to work."""
_WINDOW = 128 << 20
"""Bytes of the page cache that are in use at a time."""


class Behind:
    """Writes buffers in a thread of its own; its first error is raised where it is noticed."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, platform.WRITE)
        self._full: queue.SimpleQueue[tuple[memoryview, int, int] | None] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._begun = 0

    def write(self, buffer: memoryview, count: int, offset: int) -> memoryview:
        """Have the first ``count`` bytes written at ``offset``; return a buffer to fill next.

        Raises:
            OSError: what kept these or earlier ones from being written.
        """
        if count < PIECE:  # sooner done than handed over
            _write_all(self._file, buffer[:count], offset)
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
                self._free.put(new_buffer())
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
                    _write_all(self._file, buffer[:count], offset)
                    self._begin_writing(offset + count)
            except BaseException as error:
                self._error = error
            self._free.put(buffer)

    def _begin_writing(self, stop: int) -> None:
        """Set the disk to work on what was written, and free the pages that it is done with."""
        if stop - self._begun >= _STEP:
            self._begun, first = stop, max(0, stop - _WINDOW)
            platform.leave_cache(self._file, first, stop - first)


def new_buffer() -> memoryview:
    return platform.memory(SIZE)


def _write_all(file: int, view: memoryview, offset: int) -> None:
    while len(view):
        count = platform.pwrite(file, view[:_WRITE], offset)
        view, offset = view[count:], offset + count

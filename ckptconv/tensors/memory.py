"""Memory of large pieces, used again.

The C library gives back at once what is so large, and the kernel clears it before it hands it out
again, which takes longer than reading into it does.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from ckptconv.tensors.dtypes import DType
from ckptconv.tensors.lazy import np
from ckptconv.tensors.regions import Array

_LARGE = 32 << 20
"""Bytes from which on glibc never keeps memory for itself (DEFAULT_MMAP_THRESHOLD_MAX)."""


class _Kept:
    """What is kept in this process: one block at most, and none unless somebody reads pieces."""

    lock = threading.Lock()
    readers = 0
    spare: Iterator[Array] = iter(())


@contextmanager
def reused() -> Iterator[None]:
    """Keep the memory of a large array that nothing refers to any more for the next one."""
    with _Kept.lock:
        _Kept.readers += 1
    try:
        yield
    finally:
        with _Kept.lock:
            _Kept.readers -= 1
            if not _Kept.readers:
                _Kept.spare = iter(())


def empty(shape: tuple[int, ...], dtype: DType) -> Array:
    """Return an array whose values are anything."""
    size = math.prod(shape) * dtype.itemsize
    if size < _LARGE or not _Kept.readers:
        return np.empty(shape, dtype)
    block = next(_Kept.spare, None)  # to one thread alone
    if block is None or block.size < size:
        block = np.empty(size, np.uint8)
    flat = np.frombuffer(block.data[:size], dtype)
    weakref.finalize(flat, _keep, block)  # every view refers to it, and it to the block
    return flat.reshape(shape)


def _keep(block: Array) -> None:
    if _Kept.readers:
        _Kept.spare = iter((block,))

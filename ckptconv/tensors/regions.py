"""Regions of arrays: one ``(start, stop)`` pair per axis, cut into pieces and copied in tiles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from ckptconv.tensors.lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

    from ckptconv.tensors.dtypes import DType

Array: TypeAlias = "npt.NDArray[Any]"
Region = tuple[tuple[int, int], ...]

_TILE = 256
_FEW = 128 * 128
"""Elements that the cache holds however they lie."""
_CACHE_LINE = 64


def is_possible(shape: tuple[int, ...], dtype: DType) -> bool:
    """Tell whether numpy can make an array of this shape, which need not hold an element.

    numpy before 2 knows 32 axes; where one of them is empty, the others must fit all the same.
    """
    return len(shape) <= 32 and _extended(shape) * dtype.itemsize < 1 << 63


@lru_cache(maxsize=4096)  # the same in every block of a network
def _extended(shape: tuple[int, ...]) -> int:
    return math.prod(shape) or math.prod(n for n in shape if n)


@lru_cache(maxsize=4096)
def whole(shape: tuple[int, ...]) -> Region:
    """Return the region that is all of ``shape``."""
    return tuple((0, n) for n in shape)


@lru_cache(maxsize=4096)
def extent(region: Region) -> tuple[int, ...]:
    """Return the shape of a region."""
    return tuple(b - a for a, b in region)


def bytes_of(array: Array) -> memoryview:
    """Return the memory of a C-contiguous array."""
    return array.reshape(-1).view(np.uint8).data


def contiguous(array: Array) -> Array:
    """Return ``array`` in C order."""
    if array.flags.c_contiguous:
        return array
    out = np.empty(array.shape, array.dtype)
    copy(array, out)
    return out


def copy(array: Array, out: Array) -> None:
    """Copy ``array`` into ``out``, which is C-contiguous and of the same shape.

    A transposed matrix goes tile by tile through a little array whose rows do not lie a power of
    two apart: those of a matrix often do, and then all fall into the same few lines of the cache.
    """
    if array.size < _FEW or array.ndim != 2 or not 0 < array.strides[0] < array.strides[1]:
        out[...] = array
        return
    height = max(1, min(len(array), _TILE))
    width = _TILE * _TILE // height
    between = np.empty((width, height + _CACHE_LINE // array.itemsize), array.dtype)
    for top in range(0, array.shape[0], height):
        for left in range(0, array.shape[1], width):
            here = slice(top, top + height), slice(left, left + width)
            rows, columns = array[here].shape
            tile = between[:columns, :rows].T
            tile[...] = array[here]
            out[here] = tile


def split(region: Region, limit: int, *, keep: int | None = None) -> Iterator[Region]:
    """Cut a region into pieces of at most about ``limit`` elements, in C order.

    Axes from ``keep`` on are never cut.
    """
    shape = extent(region)
    for axis in range(len(shape) if keep is None else keep):
        rest = math.prod(shape[axis + 1 :])
        if math.prod(shape[axis:]) <= limit:
            break
        if shape[axis] > 1:
            start, stop = region[axis]
            count = -(-shape[axis] // max(1, limit // max(rest, 1)))
            step = -(-shape[axis] // count)  # evenly: a small last piece would cost as many reads
            for a in range(start, stop, step):
                piece = (*region[:axis], (a, min(a + step, stop)), *region[axis + 1 :])
                yield from split(piece, limit, keep=keep)
            return
    yield region

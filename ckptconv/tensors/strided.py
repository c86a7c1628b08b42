"""Tensors that stand in a storage under strides, as torch keeps them."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from ckptconv.errors import ContainerError
from ckptconv.io.reader import Source
from ckptconv.tensors import computed
from ckptconv.tensors import ops as relayout
from ckptconv.tensors.dtypes import DType, is_bfloat16, named
from ckptconv.tensors.lazy import np
from ckptconv.tensors.regions import Array, Region, extent, is_possible
from ckptconv.tensors.tensor import BLOCK, FileTensor, Tensor

_MAX_EXPANDED = 64 << 20
_MOST = 1 << 62


def strided(
    source: Source,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    dtype: DType,
    *,
    big_endian: bool = False,
) -> Tensor:
    """Return the view of a storage that torch would build.

    Args:
        source: the storage's bytes.
        offset, strides: in elements.
        dtype: little-endian.

    Raises:
        ContainerError: negative strides, elements outside the storage, or a view that repeats
            elements into more than 64 MiB.
    """
    # Before anything is hashed: a tuple of tuples of tuples may have no end.
    if {*map(type, (offset, *shape, *strides))} != {int}:
        raise _outside("other than integers", "an offset, sizes and strides")
    layout = _layout(shape, strides, dtype)
    inside = (offset + layout.last + 1) * dtype.itemsize <= source.size
    inside &= layout.size * dtype.itemsize <= max(source.size, _MAX_EXPANDED)
    if not 0 <= offset < _MOST or (layout.size and not inside):
        expected = f"a view of {source.size} bytes of {dtype.name}"
        raise _outside(f"offset {offset}, sizes {shape}, strides {strides}", expected)
    offset = offset if layout.size else 0
    if big_endian and is_bfloat16(dtype):  # numpy cannot swap what is not its own
        words = _view(source, offset, layout, named("uint16").big)
        return computed.Elementwise(lambda a: a.view(dtype), (words,), dtype, "", exact=True)
    return _view(source, offset, layout, dtype.big if big_endian else dtype)


def _view(source: Source, offset: int, layout: _Layout, dtype: DType) -> Tensor:
    shape, strides = layout.shape, layout.strides
    if layout.contiguous:
        return FileTensor(source, offset * dtype.itemsize, shape, dtype)
    order = sorted(range(len(shape)), key=lambda axis: (-strides[axis], shape[axis]))
    stored = tuple(shape[axis] for axis in order)
    if _layout(stored, tuple(strides[axis] for axis in order), dtype).contiguous:
        tensor = FileTensor(source, offset * dtype.itemsize, stored, dtype)
        return relayout.transpose(tensor, [order.index(axis) for axis in range(len(shape))])
    return _Strided(source, offset, shape, strides, dtype)


class _Strided(Tensor):
    """A view with holes, overlaps or repeats; read by the ranges of the storage it spans."""

    def __init__(
        self,
        source: Source,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: DType,
    ) -> None:
        self.shape, self.dtype, self._stored = shape, dtype.little, dtype
        self._source, self._offset, self._strides = source, offset, strides

    def read(self, region: Region) -> Array:
        out = np.empty(extent(region), self.dtype)
        if out.size:
            self._fill(out, region)
        return out

    def _fill(self, out: Array, region: Region) -> None:
        item = self.dtype.itemsize
        reaches = [(n - 1) * s for n, s in zip(out.shape, self._strides, strict=True)]
        span = (sum(reaches) + 1) * item
        if span > BLOCK and max(reaches):
            axis = reaches.index(max(reaches))
            half = out.shape[axis] // 2
            start, stop = region[axis]
            head, tail = [slice(None)] * out.ndim, [slice(None)] * out.ndim
            head[axis], tail[axis] = slice(half), slice(half, None)
            middle = start + half
            self._fill(out[tuple(head)], (*region[:axis], (start, middle), *region[axis + 1 :]))
            self._fill(out[tuple(tail)], (*region[:axis], (middle, stop), *region[axis + 1 :]))
            return
        first = self._offset + sum(a * s for (a, _), s in zip(region, self._strides, strict=True))
        steps = [s * item for s in self._strides]
        values = self._source.read(first * item, span)
        out[...] = np.ndarray(out.shape, self._stored, values, strides=steps)


class _Layout(NamedTuple):
    """Sizes and strides, how many elements they are, and how far the last is from the first."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    size: int
    last: int
    contiguous: bool


@lru_cache(maxsize=4096)  # the same in every block of a network
def _layout(shape: tuple[int, ...], strides: tuple[int, ...], dtype: DType) -> _Layout:
    numbers = (0, *shape, *strides)
    fit = len(shape) == len(strides) and min(numbers) >= 0 and max(numbers) < _MOST
    if not (fit and is_possible(shape, dtype)):
        raise _outside(f"sizes {shape}, strides {strides}", "sizes of an array, as many strides")
    size, last, contiguous = 1, 0, True
    for n, stride in zip(reversed(shape), reversed(strides), strict=True):
        contiguous &= n == 1 or stride == size
        last += (n - 1) * stride
        size *= n
    return _Layout(shape, strides, size, last, contiguous)


def _outside(found: str, expected: str) -> ContainerError:
    return ContainerError("a tensor outside its storage", expected=expected, found=found)

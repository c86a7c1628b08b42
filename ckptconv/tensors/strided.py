"""Tensors that stand in a storage under strides, as torch keeps them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ckptconv.errors import ContainerError
from ckptconv.io.reader import Source
from ckptconv.tensors import computed
from ckptconv.tensors import ops as relayout
from ckptconv.tensors.dtypes import is_bfloat16
from ckptconv.tensors.regions import Array, DType, Region, extent, is_possible
from ckptconv.tensors.tensor import BLOCK, FileTensor, Tensor

_MAX_EXPANDED = 64 << 20


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
    _check(source, offset, shape, strides, dtype)
    if 0 in shape:
        offset = 0
    if big_endian and is_bfloat16(dtype):  # numpy cannot swap what is not its own
        words = _view(source, offset, shape, strides, np.dtype(">u2"))
        return computed.Elementwise(lambda a: a.view(dtype), (words,), dtype, "", exact=True)
    swap = big_endian and dtype.itemsize > 1
    return _view(source, offset, shape, strides, dtype.newbyteorder(">") if swap else dtype)


def _view(
    source: Source, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: DType
) -> Tensor:
    if _layout(shape, strides)[2]:
        return FileTensor(source, offset * dtype.itemsize, shape, dtype)
    order = sorted(range(len(shape)), key=lambda axis: (-strides[axis], shape[axis]))
    stored = tuple(shape[axis] for axis in order)
    if _layout(stored, tuple(strides[axis] for axis in order))[2]:
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
        self.shape, self.dtype, self._stored = shape, dtype.newbyteorder("<"), dtype
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


@lru_cache(maxsize=4096)  # the same in every block of a network
def _layout(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, int, bool]:
    """Return how many elements there are, how far the last is from the first, and if in C order."""
    size, last, contiguous = 1, 0, True
    for n, stride in zip(reversed(shape), reversed(strides), strict=True):
        contiguous &= n == 1 or stride == size
        last += (n - 1) * stride
        size *= n
    return size, last, contiguous


def _check(
    source: Source, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: DType
) -> None:
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or {*map(type, numbers)} != {int}:
        problem = f"{len(shape)} sizes, {len(strides)} strides, or other than integers"
    elif min(numbers) < 0 or max(numbers) >= 1 << 62 or not is_possible(shape, dtype):
        problem = f"offset {offset}, sizes {shape}, strides {strides}"
    else:
        size, last, _ = _layout(shape, strides)
        inside = (offset + last + 1) * dtype.itemsize <= source.size
        if not size or (inside and size * dtype.itemsize <= max(source.size, _MAX_EXPANDED)):
            return
        problem = f"offset {offset}, sizes {shape}, strides {strides}"
    raise ContainerError(
        "a tensor outside its storage",
        file=source.path,
        expected=f"a view of {source.size} bytes of {dtype.name}",
        found=problem,
    )

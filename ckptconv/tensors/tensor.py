"""Lazy tensors: a shape and a dtype without I/O, values in bounded pieces.

A tensor is read by *region*, one ``(start, stop)`` pair per axis, so that every relayout
(``ckptconv.tensors.ops``) is a rewriting of regions and a 10 GiB file needs no 10 GiB of memory.
A tensor whose bytes already stand in a file in the right order also has *extents*, and a writer
copies those without looking at them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Container, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from ckptconv.errors import ContainerError
from ckptconv.io.reader import Source, Span
from ckptconv.tensors import memory
from ckptconv.tensors.dtypes import DType, of
from ckptconv.tensors.lazy import np
from ckptconv.tensors.regions import (
    Array,
    Region,
    bytes_of,
    contiguous,
    extent,
    is_possible,
    split,
    whole,
)

BLOCK = 8 << 20
"""Bytes of one piece; what a conversion holds in memory is a small multiple of it."""
_READ_COST = 8 << 10
"""Bytes that are copied in the time that one more read takes."""
_SLAB = 1 << 20


class Tensor(ABC):
    """A lazy array of little-endian values in C order.

    Attributes:
        shape: dimensions; ``()`` is a scalar.
        dtype: of the values, little-endian; numpy takes it for its own of that name, and equals it.
        inputs: the tensors this one is computed from; ``()`` for a leaf.
        label: the operation as the report prints it; ``""`` for what is not worth telling.
        of_inputs: whether the values are a function of those of ``inputs``, in whatever dtype.
        exact: whether that function rounds nothing.
    """

    shape: tuple[int, ...]
    dtype: DType
    inputs: tuple[Tensor, ...] = ()
    label: str = ""
    of_inputs = False
    exact = True

    @abstractmethod
    def read(self, region: Region) -> Array:
        """Return the values of ``region`` as an array of its shape, of ``self.dtype``."""

    def extents(self) -> list[Span] | None:
        """Return the byte ranges that are this tensor's C-order bytes, or None."""
        return None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @cached_property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def numpy(self) -> Array:
        """Return all values. Holds the whole tensor in memory."""
        return contiguous(self.read(whole(self.shape))).reshape(self.shape)

    @property
    def block(self) -> int:
        """Bytes that are best read at once; less where values are computed, from copies of them."""
        return min(max((tensor.block for tensor in self.inputs), default=BLOCK), 3 * BLOCK)

    def pieces(self, limit: int | None = None) -> Iterator[Array]:
        """Yield the values in C order as arrays of about ``limit`` bytes, in any memory layout."""
        for region in split(whole(self.shape), (limit or self.block) // self.dtype.itemsize):
            yield self.read(region)

    def blocks(self, limit: int | None = None) -> Iterator[Array]:
        """Yield the values as C-contiguous pieces of about ``limit`` bytes, in C order."""
        for piece in self.pieces(limit):
            yield contiguous(piece)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dtype.name}, {self.shape})"


class FileTensor(Tensor):
    """Values that stand in a file in C order.

    Args:
        source: the file or archive member.
        offset: of the first byte, within ``source``.
        shape, dtype: as stored; ``dtype`` may be big-endian and is then swapped on reading.

    Raises:
        ContainerError: the range is not inside the file, or no array can have the shape.
    """

    def __init__(self, source: Source, offset: int, shape: tuple[int, ...], dtype: DType) -> None:
        if not is_possible(shape, dtype):
            raise ContainerError("no array can have this shape", file=source.path, found=shape)
        self.shape, self.dtype, self._stored = shape, dtype.little, dtype
        self._source, self._offset = source, offset
        self.nbytes = math.prod(shape) * dtype.itemsize  # sooner than the cache of the property
        self._span = source.span(offset, self.nbytes)

    def extents(self) -> list[Span] | None:
        return [self._span] if self._stored is self.dtype else None

    def read(self, region: Region) -> Array:
        shape = extent(region)
        out = memory.empty(shape, self._stored)
        if shape == self.shape:
            self._source.read_into(bytes_of(out), self._offset)
        else:
            self._fill(out, region)
        return out if self._stored is self.dtype else out.astype(self.dtype)

    def _fill(self, out: Array, region: Region) -> None:
        """Read ``region`` into ``out`` in runs of whole trailing axes."""
        axis = max(0, self.ndim - 1)  # the last axis that is not taken whole
        while axis > 0 and region[axis] == (0, self.shape[axis]):
            axis -= 1
        item = self.dtype.itemsize
        if axis == 0:
            first = region[0][0] * math.prod(self.shape[1:]) if region else 0
            self._source.read_into(bytes_of(out), self._offset + first * item)
            return
        skipped = math.prod(self.shape[axis:]) - math.prod(extent(region[axis:]))
        if skipped * item < _READ_COST:
            self._fill_widened(out, region, axis)
            return
        strides = [math.prod(self.shape[i + 1 :]) for i in range(self.ndim)]
        firsts = np.full((), region[axis][0] * strides[axis], np.int64)
        for (start, stop), stride in zip(region[:axis], strides, strict=False):
            firsts = firsts[..., None] + np.arange(start, stop, dtype=np.int64) * stride
        offsets = (self._offset + firsts * item).reshape(-1)
        self._source.read_runs(bytes_of(out), offsets.tolist())

    def _fill_widened(self, out: Array, region: Region, axis: int) -> None:
        """Read whole rows and keep a part of each: many small reads cost more than the rest."""
        start, stop = region[axis]
        wide = (*region[:axis], (0, self.shape[axis]), *region[axis + 1 :])
        for piece in split(wide, _SLAB // self.dtype.itemsize, keep=axis):
            rows = np.empty(extent(piece), self._stored)
            self._fill(rows, piece)
            inside = [slice(a - r[0], b - r[0]) for (a, b), r in zip(piece, region, strict=True)]
            inside[axis] = slice(None)
            out[tuple(inside)] = rows[(*[slice(None)] * axis, slice(start, stop))]


class ArrayTensor(Tensor):
    """Values that are in memory already."""

    def __init__(self, array: Array) -> None:
        self.shape, self.dtype = array.shape, of(array.dtype).little
        self._array = array.astype(self.dtype, copy=False)

    def read(self, region: Region) -> Array:
        return self._array[tuple(slice(a, b) for a, b in region)]


class FilledTensor(Tensor):
    """One value everywhere: what the target must hold and no source records."""

    def __init__(self, shape: tuple[int, ...], dtype: DType, value: float = 0.0) -> None:
        self.shape, self.dtype, self.value = shape, dtype, value
        self.label = {0.0: "zeros", 1.0: "ones"}.get(value, f"filled with {value:g}")

    def read(self, region: Region) -> Array:
        return np.full(extent(region), self.value, self.dtype)


def names_and_shapes(tensors: Mapping[str, Tensor]) -> str:
    """Return names and shapes, as messages have them."""
    return ", ".join(f"{name} {tensor.shape}" for name, tensor in tensors.items())


def same_bytes(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors have one shape and dtype, and hold the same, block by block."""
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    if one.nbytes <= _SLAB and (a := one.extents()) and (b := other.extents()):
        return _joined(a) == _joined(b)
    pairs = zip(one.blocks(BLOCK), other.blocks(BLOCK), strict=True)
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


def _joined(spans: list[Span]) -> bytes:
    return b"".join(span.file.read(span.offset, span.length) for span in spans)


class Trace(NamedTuple):
    """Where a tensor comes from.

    Attributes:
        origins: the tensors at which the walk stopped, in order, repeats left out.
        operations: the labels of what was done to them, in order, each once.
    """

    origins: list[Tensor]
    operations: list[str]


def trace(tensor: Tensor, known: Container[int] = ()) -> Trace:
    """Walk from a tensor to its origins: those whose ``id`` is ``known``, and leaves."""
    if id(tensor) in known:
        return Trace([tensor], [])
    origins: dict[int, Tensor] = {}
    operations: dict[str, None] = {}
    _follow(tensor, known, origins, operations)
    return Trace([*origins.values()], [*operations])


def _follow(
    tensor: Tensor, known: Container[int], origins: dict[int, Tensor], operations: dict[str, None]
) -> None:
    is_known = id(tensor) in known
    if is_known or not tensor.inputs:
        origins[id(tensor)] = tensor
    else:
        for part in tensor.inputs:
            _follow(part, known, origins, operations)
    if tensor.label and not is_known:
        operations[tensor.label] = None

"""Lazy relayouts: each function returns a Tensor and reads nothing.

The identity costs nothing: a transpose by the identity, a slice of everything or the rejoined
slices of one tensor *is* that tensor, so that what a conversion leaves as it is stays a byte range
of the source file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ckptconv.io.reader import Span
from ckptconv.tensors.lazy import np
from ckptconv.tensors.regions import Array, Region, extent, whole
from ckptconv.tensors.tensor import BLOCK, Tensor

_MAX_EXTENTS = 4096


def transpose(tensor: Tensor, axes: Sequence[int]) -> Tensor:
    """Return ``tensor`` with axis ``axes[i]`` as axis i, as ``numpy.transpose``."""
    if isinstance(tensor, _Transposed):
        axes, tensor = [tensor.axes[a] for a in axes], tensor.inputs[0]
    return tensor if list(axes) == list(range(tensor.ndim)) else _Transposed(tensor, axes)


def reshape(tensor: Tensor, shape: tuple[int, ...], label: str = "reshape") -> Tensor:
    """Return the same elements in C order under another shape of equal size."""
    if math.prod(shape) != tensor.size:
        raise ValueError(f"cannot reshape {tensor.shape} to {shape}")
    if isinstance(tensor, _Reshaped):
        tensor = tensor.inputs[0]
    return tensor if shape == tensor.shape else _Reshaped(tensor, shape, label)


def cut(tensor: Tensor, axis: int, start: int, stop: int, label: str = "") -> Tensor:
    """Return ``tensor[start:stop]`` along ``axis``."""
    if isinstance(tensor, _Cut) and tensor.axis == axis:
        start, stop, tensor = start + tensor.start, stop + tensor.start, tensor.inputs[0]
    whole_axis = (start, stop) == (0, tensor.shape[axis])
    return tensor if whole_axis else _Cut(tensor, axis, start, stop, label)


def divide(tensor: Tensor, axis: int, parts: int) -> list[Tensor]:
    """Return ``parts`` equal cuts along ``axis``."""
    step = tensor.shape[axis] // parts
    return [cut(tensor, axis, i * step, (i + 1) * step) for i in range(parts)]


def concat(tensors: Sequence[Tensor], axis: int, label: str = "join") -> Tensor:
    """Join along ``axis``; neighbouring cuts of one tensor become one cut again."""
    parts: list[Tensor] = []
    for tensor in tensors:
        last = parts[-1] if parts else None
        if (
            isinstance(last, _Cut)
            and isinstance(tensor, _Cut)
            and last.inputs == tensor.inputs
            and last.axis == tensor.axis == axis
            and last.stop == tensor.start
        ):
            parts[-1] = cut(last.inputs[0], axis, last.start, tensor.stop, last.label)
        else:
            parts.append(tensor)
    return parts[0] if len(parts) == 1 else _Joined(parts, axis, label)


class _Transposed(Tensor):
    of_inputs = True

    def __init__(self, tensor: Tensor, axes: Sequence[int]) -> None:
        self.inputs, self.axes, self.dtype = (tensor,), tuple(axes), tensor.dtype
        self.shape = tuple(tensor.shape[a] for a in axes)
        self.label = "transpose" if len(axes) == 2 else f"transpose {self.axes}"

    @property
    def block(self) -> int:
        # The larger the block, the longer the runs that are read from each row of the source, and
        # the fewer times: what stands in a file takes no memory beside it.
        (inner,) = self.inputs
        return (3 if inner.extents() is None else 8) * BLOCK

    def read(self, region: Region) -> Array:
        inner = [(0, 0)] * len(region)
        for pair, axis in zip(region, self.axes, strict=True):
            inner[axis] = pair
        return self.inputs[0].read(tuple(inner)).transpose(self.axes)


class _Reshaped(Tensor):
    of_inputs = True

    def __init__(self, tensor: Tensor, shape: tuple[int, ...], label: str) -> None:
        self.inputs, self.shape, self.dtype, self.label = (tensor,), shape, tensor.dtype, label

    def extents(self) -> list[Span] | None:
        return self.inputs[0].extents()

    def read(self, region: Region) -> Array:
        """Read the rows that hold the region's flat range, then cut it out of them."""
        source = self.inputs[0]
        if not self.shape:
            return source.numpy().reshape(())
        row, (start, stop) = math.prod(self.shape[1:]), region[0]
        first, last = start * row, stop * row
        if not source.shape:
            flat = source.read(()).reshape(-1)[first:last]
        else:
            width = max(1, math.prod(source.shape[1:]))
            top, bottom = first // width, -(-last // width)
            rows = source.read(((top, bottom), *whole(source.shape[1:])))
            flat = rows.reshape(-1)[first - top * width : last - top * width]
        inside = tuple(slice(a, b) for a, b in region[1:])
        return flat.reshape(stop - start, *self.shape[1:])[(slice(None), *inside)]


class _Cut(Tensor):
    of_inputs = True

    def __init__(self, tensor: Tensor, axis: int, start: int, stop: int, label: str) -> None:
        self.inputs, self.dtype, self.label = (tensor,), tensor.dtype, label
        self.axis, self.start, self.stop = axis, start, stop
        self.shape = (*tensor.shape[:axis], stop - start, *tensor.shape[axis + 1 :])

    def extents(self) -> list[Span] | None:
        spans = self.inputs[0].extents()
        if spans is None or math.prod(self.inputs[0].shape[: self.axis]) != 1:
            return None
        width = math.prod(self.shape[self.axis + 1 :]) * self.dtype.itemsize
        return _subrange(spans, self.start * width, self.stop * width)

    def read(self, region: Region) -> Array:
        start, stop = region[self.axis]
        moved = (start + self.start, stop + self.start)
        return self.inputs[0].read((*region[: self.axis], moved, *region[self.axis + 1 :]))


class _Joined(Tensor):
    of_inputs = True

    def __init__(self, parts: Sequence[Tensor], axis: int, label: str) -> None:
        self.inputs, self.axis, self.label = tuple(parts), axis, label
        self.dtype, shape = parts[0].dtype, parts[0].shape
        total = sum(part.shape[axis] for part in parts)
        self.shape = (*shape[:axis], total, *shape[axis + 1 :])

    def extents(self) -> list[Span] | None:
        if math.prod(self.shape[: self.axis]) != 1:
            return None
        spans: list[Span] = []
        for part in self.inputs:
            inner = part.extents()
            if inner is None or len(spans) + len(inner) > _MAX_EXTENTS:
                return None
            spans += inner
        return spans

    def read(self, region: Region) -> Array:
        start, stop = region[self.axis]
        pieces, base = [], 0
        for part in self.inputs:
            size = part.shape[self.axis]
            a, b = max(start - base, 0), min(stop - base, size)
            if a < b:
                pieces.append(part.read((*region[: self.axis], (a, b), *region[self.axis + 1 :])))
            base += size
        empty = np.empty(extent(region), self.dtype)
        return np.concatenate(pieces, axis=self.axis) if pieces else empty


def _subrange(spans: list[Span], start: int, stop: int) -> list[Span]:
    cuts, base = [], 0
    for span in spans:
        a, b = max(start - base, 0), min(stop - base, span.length)
        if a < b:
            cuts.append(Span(span.file, span.offset + a, b - a))
        base += span.length
    return cuts

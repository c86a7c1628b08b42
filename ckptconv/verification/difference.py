"""How far two arrays are apart: bits, values, ULPs; in blocks, so that size does not matter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ckptconv.io.reader import PIECE, Span
from ckptconv.tensors.dtypes import DType, is_bfloat16, is_float, of
from ckptconv.tensors.regions import Array, bytes_of, contiguous, split, whole
from ckptconv.tensors.tensor import Tensor

_BLOCK = 4 << 20
DECADES = range(-12, 1)


@dataclass
class Difference:
    """The differences between two equally shaped sets of values.

    Attributes:
        elements: how many values were compared.
        differing: values whose bits differ; of two dtypes, after the wider is rounded to the other,
            which cannot hold what overflows, wraps or is cut off.
        unequal: those of them that are not the same number either (-0.0 is 0.0, NaN is NaN).
        max_abs, max_rel: the largest difference, and relative to the larger magnitude; infinite
            where a number faces a NaN or an infinity.
        max_ulp: in units of the last place of the narrower dtype; None where that means nothing.
        histogram: decade of the absolute difference (-12: below 1e-11, 0: 0.1 and more) → count.
    """

    elements: int = 0
    differing: int = 0
    unequal: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    max_ulp: int | None = 0
    histogram: dict[int, int] = field(default_factory=dict)

    def __add__(self, other: Difference) -> Difference:
        ulps = (self.max_ulp, other.max_ulp)
        histogram = dict(self.histogram)
        for decade, count in other.histogram.items():
            histogram[decade] = histogram.get(decade, 0) + count
        return Difference(
            self.elements + other.elements,
            self.differing + other.differing,
            self.unequal + other.unequal,
            max(self.max_abs, other.max_abs),
            max(self.max_rel, other.max_rel),
            None if None in ulps else max(u for u in ulps if u is not None),
            histogram,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-like values; an infinite difference is null."""
        numbers = {
            k: v if math.isfinite(v or 0) else None
            for k, v in vars(self).items()
            if k != "histogram"
        }
        return numbers | {"histogram": {f"1e{k}": v for k, v in sorted(self.histogram.items())}}


def total(differences: Iterable[Difference]) -> Difference:
    """Return all of them taken together."""
    return sum(differences, start=Difference())


def compare_tensors(a: Tensor, b: Tensor) -> Difference:
    """Compare two lazy tensors of one shape, reading both once, side by side, in pieces."""
    stored = (a.extents(), b.extents()) if a.dtype == b.dtype else (None, None)
    if stored[0] is None or stored[1] is None:
        return total(compare_arrays(one, other) for one, other in _computed(a, b))
    pieces = zip(_stored(stored[0]), _stored(stored[1]), strict=True)
    return total(compare_arrays(x.view(a.dtype), y.view(b.dtype)) for x, y in pieces)


def compare_arrays(a: Array, b: Array) -> Difference:
    """Compare two arrays of one shape; dtypes may differ."""
    narrow = narrower(of(a.dtype), of(b.dtype))
    with np.errstate(over="ignore", invalid="ignore"):
        one, other = (x.astype(narrow, copy=False).reshape(-1) for x in (a, b))
    unlike = _bits(one) != _bits(other)
    if a.dtype == b.dtype and not unlike.any():
        return Difference(elements=a.size)
    a, b = a.reshape(-1), b.reshape(-1)
    if a.dtype == b.dtype:
        a, b, one, other = (x[unlike] for x in (a, b, one, other))
    lost = _lost(b, other) if a.dtype == narrow else _lost(a, one)
    differing = int(np.count_nonzero(unlike if a.dtype == b.dtype else unlike | lost))
    found = Difference(unlike.size, differing)
    found.unequal = int(np.count_nonzero(_unequal(one, other) | lost))
    if len(one):
        _measure(found, a, b)
        found.max_ulp = None if lost.any() else _ulps(one, other)
    return found


def _lost(wide: Array, narrow: Array) -> Array:
    """Tell which values are no rounding of what they were: cut off, wrapped or overflowed."""
    if wide.dtype == narrow.dtype:
        return np.zeros(len(wide), bool)
    if narrow.dtype.kind in "iub":
        return np.asarray((narrow.astype(wide.dtype) != wide) | ((narrow < 0) != (wide < 0)))
    beyond = np.isfinite(narrow) != np.isfinite(wide)
    cut = wide.dtype.kind == "c" and narrow.dtype.kind != "c"
    return np.asarray(beyond | (wide.imag != 0) if cut else beyond)


def _stored(spans: Iterable[Span]) -> Iterator[Array]:
    """Yield bytes of files, held against the files' checksums, in pieces of one size.

    Each piece stands where the one before it stood.
    """
    buffer, fill = np.empty(PIECE, np.uint8), 0
    for source, offset, length in spans:
        with source.passing(offset, length) as check:
            end = offset + length
            while offset < end:
                room = bytes_of(buffer[fill : fill + end - offset])
                source.read_into(room, offset)
                if check is not None:
                    check(room)
                offset, fill = offset + len(room), fill + len(room)
                if fill == PIECE:
                    yield buffer
                    fill = 0
    if fill:
        yield buffer[:fill]


def _computed(a: Tensor, b: Tensor) -> Iterator[tuple[Array, Array]]:
    for region in split(whole(a.shape), _BLOCK // max(a.dtype.itemsize, b.dtype.itemsize)):
        yield contiguous(a.read(region)), contiguous(b.read(region))


def _unequal(a: Array, b: Array) -> Array:
    unequal: Array = (a != b) & ~((a != a) & (b != b))
    return unequal


def _measure(found: Difference, a: Array, b: Array) -> None:
    wide = np.complex128 if "c" in (a.dtype.kind, b.dtype.kind) else np.float64
    a, b = a.astype(wide), b.astype(wide)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        gap = np.where(_unequal(a, b), np.abs(a - b), 0)
        gap = np.where(np.isnan(gap), np.inf, gap)
        scale = np.maximum(np.abs(a), np.abs(b))
        relative = np.where(gap > 0, gap / scale, 0)
        decades = np.floor(np.log10(gap[gap > 0]))
    found.max_abs = float(gap.max())
    found.max_rel = float(np.where(np.isnan(relative), np.inf, relative).max())
    decades = np.clip(decades, DECADES[0], DECADES[-1]).astype(int)
    found.histogram = {d: int(np.count_nonzero(decades == d)) for d in set(decades.tolist())}


def _bits(array: Array) -> Array:
    size = array.dtype.itemsize
    return np.ascontiguousarray(array).view(np.dtype(f"u{size}") if size <= 8 else "V16")


def narrower(one: DType, other: DType) -> DType:
    """Return the dtype that holds fewer digits: bfloat16 of the two of 16 bits."""
    return min(one, other, key=lambda dtype: (dtype.itemsize, is_bfloat16(dtype) and -1))


def _ulps(a: Array, b: Array) -> int | None:
    """Return the largest distance along the line of representable numbers."""
    if not is_float(a.dtype) or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    sign = 1 << (8 * a.dtype.itemsize - 1)
    (a_side, a_size), (b_side, b_size) = (
        (bits >= sign, (bits & (sign - 1)).astype(np.uint64))
        for bits in (_bits(a).astype(np.uint64), _bits(b).astype(np.uint64))
    )
    same = np.maximum(a_size, b_size) - np.minimum(a_size, b_size)
    return int(np.where(a_side == b_side, same, a_size + b_size).max())

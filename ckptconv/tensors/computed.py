"""Lazy values that are computed from others: sums, products, casts."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import lru_cache

from ckptconv.tensors.dtypes import DType, is_float, named
from ckptconv.tensors.lazy import np
from ckptconv.tensors.regions import Array, Region, whole
from ckptconv.tensors.tensor import FilledTensor, Tensor

BOTH_BIASES = "sum of the two biases"


def cast(tensor: Tensor, dtype: DType) -> Tensor:
    """Convert values to ``dtype``, rounding to nearest as numpy does."""
    return tensor if dtype == tensor.dtype else Cast(tensor, dtype)


@lru_cache
def holding(one: DType, other: DType) -> DType:
    """Return the smallest dtype that holds all values of two; the first if not both are floats."""
    if not (is_float(one) and is_float(other)):
        return one
    limits = [_limits(dtype) for dtype in (one, other)]
    needed = [max(pair) for pair in zip(*limits, strict=True)]
    fitting = (one, other, named("float32"), named("float64"))
    return next(d for d in fitting if all(map(operator.ge, _limits(d), needed)))


def _limits(dtype: DType) -> tuple[int, int, int]:
    """Return how many digits a dtype has, and how far its numbers reach, up and down."""
    import ml_dtypes

    info = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    return info.nmant, info.maxexp, info.nmant - info.minexp


def add(first: Tensor, second: Tensor, label: str = "sum") -> Tensor:
    """Return the sum; adding zeros leaves the other operand as it is, bit for bit."""
    for one, other in ((first, second), (second, first)):
        if isinstance(other, FilledTensor) and other.value == 0:
            return one
    return Elementwise(_exact_sum, (first, second), first.dtype, label)


class Elementwise(Tensor):
    """A function of equally shaped tensors, element by element.

    Args:
        function: takes one array per input and returns one of their shape.
        rows: the function needs whole rows (all axes but the first taken whole).
        exact: the function rounds nothing.
    """

    of_inputs = True

    def __init__(
        self,
        function: Callable[..., Array],
        inputs: tuple[Tensor, ...],
        dtype: DType,
        label: str,
        *,
        rows: bool = False,
        exact: bool = False,
    ) -> None:
        self.inputs, self.dtype, self.label, self.exact = inputs, dtype, label, exact
        self.shape, self._function, self._rows = inputs[0].shape, function, rows

    def read(self, region: Region) -> Array:
        taken = (region[:1] + whole(self.shape[1:])) if self._rows else region
        given = [t.read(self._of(t, taken)) for t in self.inputs]
        with np.errstate(all="ignore"):  # infinities are the file's business
            values = self._function(*given)
        if taken != region:
            values = values[(slice(None), *(slice(a, b) for a, b in region[1:]))]
        return values.astype(self.dtype, copy=False)

    def _of(self, tensor: Tensor, region: Region) -> Region:
        """Fit a region to an input that broadcasts: axes of length 1 are taken whole."""
        if tensor.shape == self.shape:
            return region
        pairs = zip(region, tensor.shape, strict=True)
        return tuple((0, 1) if n == 1 else pair for pair, n in pairs)


class Cast(Tensor):
    """Values rounded to another dtype; counts what it loses as the values are read.

    Attributes:
        overflowed: finite values that became infinite.
        vanished: non-zero values that became zero.
    """

    def __init__(self, tensor: Tensor, dtype: DType) -> None:
        self.inputs, self.shape, self.dtype = (tensor,), tensor.shape, dtype
        self.label = f"cast {tensor.dtype.name} → {dtype.name}"
        self.overflowed = self.vanished = 0

    def read(self, region: Region) -> Array:
        values = self.inputs[0].read(region)
        with np.errstate(over="ignore", invalid="ignore"):
            out = values.astype(self.dtype)
        self.overflowed += int(np.count_nonzero(np.isfinite(values) & ~np.isfinite(out)))
        self.vanished += int(np.count_nonzero((values != 0) & (out == 0)))
        return out


class Product(Tensor):
    """The matrix product of two 2-D tensors, in float64, rounded once to ``dtype``."""

    of_inputs, exact = True, False

    def __init__(self, left: Tensor, right: Tensor, dtype: DType, label: str) -> None:
        self.inputs, self.dtype, self.label = (left, right), dtype, label
        self.shape = (left.shape[0], right.shape[1])

    def read(self, region: Region) -> Array:
        left, right = self.inputs
        rows = left.read((region[0], (0, left.shape[1]))).astype(np.float64)
        columns = right.read(((0, right.shape[0]), region[1])).astype(np.float64)
        with np.errstate(all="ignore"):
            return np.asarray((rows @ columns).astype(self.dtype))


def _exact_sum(first: Array, second: Array) -> Array:
    total = np.asarray(first + second)
    if np.count_nonzero(first) == np.count_nonzero(second) == total.size:
        return total
    return np.where(second == 0, first, np.where(first == 0, second, total))

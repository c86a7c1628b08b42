"""A weight to multiply by, whatever its size.

Matrices that are too large to hold are read again in blocks of rows for every time step, so a
layer of any size is computed in a few MiB.
"""

from __future__ import annotations

import numpy as np

from ckptconv.tensors.regions import Array
from ckptconv.tensors.tensor import Tensor
from ckptconv.verification.reference.arithmetic import Arithmetic

HELD = 8 << 20
"""Bytes of a matrix up to which it is held in memory between time steps."""
_BLOCK = 256 << 10
"""Bytes of a larger one that are read at a time: as float64 they still fit the cache."""


class Matrix:
    """A weight to multiply by, held in memory where it is small, else read in blocks."""

    def __init__(self, tensor: Tensor, arithmetic: Arithmetic, columns: bool) -> None:
        self._tensor, self._arithmetic, self._columns = tensor, arithmetic, columns
        self._held = self._read(0, tensor.shape[0]) if tensor.nbytes <= HELD else None

    def times(self, x: Array) -> Array:
        """Return ``x`` (N, in) times this matrix: (N, rows), or (N, columns) with ``columns``."""
        rows, width = self._tensor.shape
        if self._held is not None:
            return x @ (self._held if self._columns else self._held.T)
        out = np.zeros((len(x), width if self._columns else rows), x.dtype)
        step = max(1, _BLOCK // max(1, width * self._tensor.dtype.itemsize))
        room = np.empty((step, width), self._arithmetic.dtype)
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            block = self._read(start, stop, room[: stop - start])
            if self._columns:
                out += x[:, start:stop] @ block
            else:
                out[:, start:stop] = x @ block.T
        return out

    def _read(self, start: int, stop: int, room: Array | None = None) -> Array:
        values = self._tensor.read(((start, stop), (0, self._tensor.shape[1])))
        if room is None:
            return self._arithmetic.rounding(values.astype(self._arithmetic.dtype, copy=False))
        room[...] = values
        return self._arithmetic.rounding(room)

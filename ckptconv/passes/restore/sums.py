"""What a conversion keeps of sums: both biases of an LSTM or RNN that a target holds as one."""

from __future__ import annotations

import base64
from typing import NamedTuple

from ckptconv.graph.graph import Graph
from ckptconv.graph.lowered import Lowered
from ckptconv.passes.cast import DTYPES
from ckptconv.tensors.computed import BOTH_BIASES, cast
from ckptconv.tensors.tensor import Tensor


class Split(NamedTuple):
    """Two biases and the tensor that holds their sum.

    Attributes:
        target: the name of the sum in the file that was written.
        sha256: of the sum's bytes there, in hexadecimal.
        dtype: of all three, also where the conversion cast them.
        b_ih, b_hh: the values in canonical order, as base64 of their bytes.
    """

    target: str
    sha256: str
    dtype: str
    b_ih: str
    b_hh: str


def record(graph: Graph, lowered: Lowered) -> list[Split]:
    """Return what the report must keep: every pair of biases that became one tensor's sum."""
    origin = graph.origin.provenance
    sums: dict[frozenset[int], tuple[str, Tensor]] = {}
    for name, tensor in lowered.tensors.items():
        if not tensor.inputs or tensor.ndim != 1:
            continue
        made = origin.trace(tensor)
        if BOTH_BIASES in made.operations and DTYPES.name(tensor.dtype):
            sums[frozenset(map(id, made.origins))] = name, tensor
    found: list[Split] = []
    for cell in (c for layer in graph.recurrent for c in layer.cells.values() if sums):
        if cell.b_ih is None or cell.b_hh is None:
            continue
        origins = [*origin.trace(cell.b_ih).origins, *origin.trace(cell.b_hh).origins]
        name, total = sums.get(frozenset(map(id, origins)), ("", cell.b_ih))
        if name and total.size == cell.b_ih.size:
            parts = (cast(bias, total.dtype) for bias in (cell.b_ih, cell.b_hh))
            found.append(_split(name, total, *parts))
    return found


def _split(name: str, total: Tensor, b_ih: Tensor, b_hh: Tensor) -> Split:
    values = (base64.b64encode(b.numpy().tobytes()).decode("ascii") for b in (b_ih, b_hh))
    return Split(name, digest(total), total.dtype.name, *values)


def digest(tensor: Tensor) -> str:
    """Return the SHA-256 of a tensor's bytes, in hexadecimal."""
    import hashlib

    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()

"""``--dtype``: the floating-point tensors of a target in another precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ckptconv.errors import DialectError
from ckptconv.graph.lowered import Lowered
from ckptconv.spelling import option
from ckptconv.tensors.computed import Cast, cast
from ckptconv.tensors.regions import DType
from ckptconv.tensors.tensor import BFLOAT16, Tensor

DTYPES: Mapping[str, DType] = {
    **{name: np.dtype(name) for name in ("float16", "float32", "float64")},
    "bfloat16": BFLOAT16,
}


_SMALL = ("bfloat16", "float8", "float4", "float6")
"""How the floating-point dtypes of ``ml_dtypes`` begin; numpy calls them void."""


def is_float(dtype: DType) -> bool:
    """Tell floating-point dtypes, those of ``ml_dtypes`` among them."""
    return dtype.kind == "f" or dtype.name.startswith(_SMALL)


def to_dtype(lowered: Lowered, name: str | None) -> Lowered:
    """Return a lowered graph whose floating-point tensors have the dtype ``name``.

    Raises:
        DialectError: complex numbers, which no target holds.
    """
    for key, tensor in lowered.tensors.items():
        if tensor.dtype.kind == "c":
            found = tensor.dtype.name
            problem = "complex numbers cannot be converted"
            raise DialectError(problem, tensor=key, expected="a real dtype", found=found)
    if name is None:
        return lowered
    dtype = DTYPES[name]
    tensors = {k: cast(t, dtype) if is_float(t.dtype) else t for k, t in lowered.tensors.items()}
    return replace(lowered, tensors=tensors)


def require_loaded(lowered: Lowered, title: str, unloaded: tuple[str, ...]) -> None:
    """Refuse numbers that a format holds and the framework that it is for does not load.

    Args:
        title: the framework's.
        unloaded: how the names of their dtypes begin.

    Raises:
        DialectError: a tensor of such.
    """
    for key, tensor in lowered.tensors.items():
        if tensor.dtype.name.startswith(unloaded):
            raise DialectError(
                f"{title} loads no such numbers",
                tensor=key,
                found=tensor.dtype.name,
                hint=option("dtype", "float16"),
            )


def count_losses(lowered: Lowered) -> None:
    """Compute what was cast without writing it, so that it knows what it loses."""
    for tensor in lowered.tensors.values():
        if isinstance(tensor, Cast):
            for _ in tensor.blocks():
                pass


def losses(tensors: Mapping[str, Tensor]) -> list[str]:
    """Name the tensors that lost values in a cast; known once they were computed."""
    notes = []
    for name, tensor in tensors.items():
        if isinstance(tensor, Cast) and tensor.overflowed:
            count, dtype = tensor.overflowed, tensor.dtype.name
            notes.append(f"{name}: {count} values overflow {dtype} to infinity")
        if isinstance(tensor, Cast) and tensor.vanished:
            count, dtype = tensor.vanished, tensor.dtype.name
            notes.append(f"{name}: {count} non-zero values become zero in {dtype}")
    return notes

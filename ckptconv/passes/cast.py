"""``--dtype``: the floating-point tensors of a target in another precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from ckptconv.errors import DialectError
from ckptconv.graph.graph import Graph, Layer
from ckptconv.graph.lowered import Lowered
from ckptconv.spelling import option
from ckptconv.tensors.computed import Cast, cast, holding, is_float
from ckptconv.tensors.regions import DType
from ckptconv.tensors.tensor import BFLOAT16, FilledTensor, Tensor

AnyLayer = TypeVar("AnyLayer", bound=Layer)
DTYPES: Mapping[str, DType] = {
    **{name: np.dtype(name) for name in ("float16", "float32", "float64")},
    "bfloat16": BFLOAT16,
}


def widened(graph: Graph, name: str | None) -> Graph:
    """Return a graph in whose dtypes nothing is lost of what will be cast to the dtype ``name``.

    What is computed of the parameters is then rounded once, to that dtype.
    """
    if name is None:
        return graph
    return replace(graph, layers=tuple(widened_layer(layer, DTYPES[name]) for layer in graph))


def widened_layer(layer: AnyLayer, dtype: DType) -> AnyLayer:
    """Return a layer in dtypes that hold all values of its own and of ``dtype``."""
    params = {
        name: cast(tensor, holding(tensor.dtype, dtype))
        if not isinstance(tensor, FilledTensor)
        else tensor
        for name, tensor in layer.params.items()
    }
    return replace(layer, params=params)


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
    first: dict[DType, str] = {}
    for key, tensor in lowered.tensors.items():
        first.setdefault(tensor.dtype, key)
    for dtype, key in first.items():
        if dtype.name.startswith(unloaded):
            raise DialectError(
                f"{title} loads no such numbers",
                tensor=key,
                found=dtype.name,
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

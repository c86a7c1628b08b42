"""``--dtype``: the floating-point tensors of a target in another precision."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from ckptconv.errors import DialectError, listed
from ckptconv.graph.graph import Graph, Layer
from ckptconv.graph.lowered import Lowered
from ckptconv.spelling import option
from ckptconv.tensors.computed import Cast, cast, holding
from ckptconv.tensors.dtypes import DType, DTypes, is_float
from ckptconv.tensors.provenance import Provenance
from ckptconv.tensors.tensor import FilledTensor, Tensor

_ENOUGH, _SHOWN, _LAYERS = 4, 4, "float32"
AnyLayer = TypeVar("AnyLayer", bound=Layer)
DTYPES = DTypes({name: name for name in ("float16", "float32", "float64", "bfloat16")})


def widened(graph: Graph, name: str | None) -> Graph:
    """Return a graph in whose dtypes nothing is lost of what will be cast to the dtype ``name``.

    What is computed of the parameters, while reading too, is then rounded once, to that dtype.
    """
    if name is None:
        return graph
    source = graph.origin.provenance
    layers = (widened_layer(layer, DTYPES[name], source) for layer in graph)
    return replace(graph, layers=tuple(layers))


def widened_layer(layer: AnyLayer, dtype: DType, source: Provenance) -> AnyLayer:
    """Return a layer in dtypes that hold all values of its own and of ``dtype``."""
    params = {
        name: tensor if isinstance(tensor, FilledTensor) else _wide(tensor, dtype, source)
        for name, tensor in layer.params.items()
    }
    return replace(layer, params=params)


def recomputed(tensor: Tensor, dtype: DType, source: Provenance) -> Tensor:
    """Return a tensor as a conversion to ``dtype`` computes it; itself if nothing is rounded."""
    return _wide(tensor, dtype, source) if any(_roundings(tensor, source)) else tensor


def _wide(tensor: Tensor, dtype: DType, source: Provenance) -> Tensor:
    """Return a tensor that is computed of wide values wherever that rounds."""
    wide = holding(tensor.dtype, dtype)
    if wide == tensor.dtype or not any(_roundings(tensor, source)):
        return cast(tensor, wide)
    made = copy.copy(tensor)
    made.inputs = tuple(_wide(part, dtype, source) for part in tensor.inputs)
    made.dtype = wide
    vars(made).pop("nbytes", None)  # which is cached
    return made


def _roundings(tensor: Tensor, source: Provenance) -> Iterator[Tensor]:
    """Yield what rounds on the way from the source's tensors to one."""
    if not source.holds(tensor) and tensor.of_inputs:
        if not tensor.exact:
            yield tensor
        for part in tensor.inputs:
            yield from _roundings(part, source)


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


def notes(lowered: Lowered, advice: str, source: Provenance, dtype: str | None) -> list[str]:
    """Say how a network comes to have these dtypes, and what was rounded where none is asked.

    Args:
        advice: what the target's framework asks for where a ``{dtype}`` is not float32.
    """
    return [*_typed(lowered, advice), *narrow_notes(lowered, source, dtype)]


def narrow_notes(lowered: Lowered, source: Provenance, dtype: str | None) -> list[str]:
    """Name what was computed in less than 32 bits, and rounded to that, where no dtype is asked."""
    if dtype is not None:
        return []
    found: dict[tuple[str, str], list[str]] = {}
    for name, tensor in lowered.tensors.items():
        if tensor.dtype.itemsize < _ENOUGH and is_float(tensor.dtype):
            for made in _roundings(tensor, source):
                names = found.setdefault((made.label, made.dtype.name), [])
                names += [name] if name not in names[-1:] else []
    advice = option("dtype", "float32")
    return [
        f"{label}: rounded to {narrow} in {listed(names, _SHOWN)}; {advice} keeps what that loses"
        for (label, narrow), names in found.items()
    ]


def _typed(lowered: Lowered, advice: str) -> list[str]:
    found = Counter(t.dtype.name for t in lowered.tensors.values() if is_float(t.dtype))
    if not found.keys() - {_LAYERS}:
        return []
    cast_all = option("dtype", _LAYERS)
    return [
        f"{count} of {found.total()} floating-point tensors are {name}, and layers are made in "
        f"{_LAYERS}: {advice.format(dtype=name)}; {cast_all} writes them so"
        for name, count in found.items()
        if name != _LAYERS
    ]


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

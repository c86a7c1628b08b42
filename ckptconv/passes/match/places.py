"""Where the weights of a Keras model's own file belong: to which parameters of which layers.

A wrapper, a model inside another and one cell of several hold weights under names that no layer
alone is written under. Reading the file tells which layer each weight is of. The layer is written
again, with numbers that tell all elements of the file apart in place of its values: what comes out
whole and in order is that very weight, and what does not has no place in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import replace
from operator import itemgetter
from typing import NamedTuple

from ckptconv.checkpoint import Checkpoint, join
from ckptconv.dialects import keras
from ckptconv.errors import AmbiguousKindError, CkptconvError
from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
from ckptconv.graph.hints import KindHint
from ckptconv.graph.kinds import PARAMETER
from ckptconv.graph.lowered import Part
from ckptconv.options import ReadOptions
from ckptconv.passes.match.slashed import plainly
from ckptconv.passes.match.written import Lower, written
from ckptconv.tensors.dtypes import named
from ckptconv.tensors.lazy import np
from ckptconv.tensors.ops import reshape
from ckptconv.tensors.regions import Array, Region
from ckptconv.tensors.tensor import FilledTensor, Tensor

_KEPT = "not told by the target's file"
_MOST = 32
"""Times that a file is read again without what was refused."""
_FIRST = 2
"""Of the numbers: a norm's ones and zeros are none of them."""


class Place(NamedTuple):
    """Where a weight of a file belongs: ``module.parameter``, and the shape that it has there."""

    name: str
    shape: tuple[int, ...]


def layers_of(target: Checkpoint, paths: Set[str]) -> Graph | None:
    """Return the layers of a Keras file with numbers for values; what nothing tells is left out.

    Args:
        paths: of the layers that are to be written: they tell whether these are the layers as they
            are, or those of a written network, which holds parts of some by themselves.
    """
    numbered, found = replace(target, tensors=_numbered(target.tensors)), list[Graph]()
    if graph := _told_part(numbered):
        found.append(graph)
    with suppress(CkptconvError):
        found.append(keras.lift(numbered, ReadOptions(), apart=True))
    by_paths = (len(paths & {layer.path for layer in graph}) for graph in found)
    return max(zip(by_paths, found, strict=True), key=itemgetter(0), default=(0, None))[1]


def _told_part(file: Checkpoint) -> Graph | None:
    kept: dict[str, KindHint] = {}
    for _ in range(_MOST):
        graph, refused = _lifted(file, kept)
        if graph is not None:
            return replace(graph, layers=tuple(x for x in graph.layers if x.evidence != _KEPT))
        kept |= dict.fromkeys(refused, KindHint(PARAMETER, {}, _KEPT))
    return None


def places_in(graph: Graph, variant: str) -> dict[str, Place]:
    """Return name → place of the weights that the layers of a file are made of.

    Args:
        graph: what ``layers_of`` gave.
        variant: the layout of the file.
    """
    write, found = plainly(lambda graph: keras.lower(graph, variant)), dict[str, Place]()
    for layer in map(as_stored, graph):
        path = layer.path.rpartition(".")[0] if layer.kind == PARAMETER else layer.path
        parts = (_placed(layer, part, graph.origin) for part in _written(layer, graph, write))
        own = next(filter(None, parts), {})
        found |= {name: Place(join(path, leaf), shape) for name, (leaf, shape) in own.items()}
    return found


def as_stored(layer: Layer) -> Layer:
    """Return a layer without the ones and zeros that reading gave it: its file has none."""
    if isinstance(layer, RecurrentLayer):  # whose two biases its file has as one
        return layer
    stored = {name: t for name, t in layer.params.items() if not isinstance(t, FilledTensor)}
    return replace(layer, params=stored)


def _lifted(file: Checkpoint, kept: Mapping[str, KindHint]) -> tuple[Graph | None, set[str]]:
    """Return the layers of a file, or the paths of some that are refused."""
    try:
        return keras.lift(file, ReadOptions().with_kinds(kept)), set()
    except AmbiguousKindError as error:
        return None, {*error.choices}
    except CkptconvError as error:
        return None, {error.tensor} if error.tensor else set()


def _written(layer: Layer, graph: Graph, write: Lower) -> list[Part]:
    try:
        return [part for _, part in written(layer, graph, [write])]
    except CkptconvError:
        return []


def _placed(layer: Layer, part: Part, file: Checkpoint) -> dict[str, Place]:
    """Return name in the file → place below the module, of a layer that comes out as it was."""
    held = {n for t in layer.params.values() for n in file.provenance.names(t)}
    found = dict(_pairs(part, file))
    return found if found.keys() == held and len(found) == len(part.tensors) else {}


def _pairs(part: Part, file: Checkpoint) -> Iterator[tuple[str, Place]]:
    for leaf, tensor in part.tensors.items():
        for name in file.provenance.names(tensor):
            if _are_one(tensor, file.tensors[name]):
                yield name, Place(leaf, tensor.shape)


def _are_one(made: Tensor, stored: Tensor) -> bool:
    """Tell whether one holds the elements of another in their order, be it in another shape."""
    if made is stored or made.size != stored.size:
        return made is stored
    blocks = zip(reshape(made, stored.shape).blocks(), stored.blocks(), strict=True)
    return all(np.array_equal(one, other) for one, other in blocks)


def _numbered(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found, first = dict(tensors), _FIRST
    for name, tensor in tensors.items():
        if tensor.dtype.kind not in "iub":  # by which quantized weights are known
            found[name] = _Numbers(tensor.shape, first)
            first += tensor.size
    return found


class _Numbers(Tensor):
    """Numbers from one on, in C order."""

    def __init__(self, shape: tuple[int, ...], first: int) -> None:
        self.shape, self.dtype, self._first = shape, named("float64"), first

    def read(self, region: Region) -> Array:
        found, size = np.full((), float(self._first)), self.size
        for (start, stop), length in zip(region, self.shape, strict=True):
            size //= max(length, 1)
            found = found[..., None] + np.arange(start, stop) * float(size)
        return found

"""What the names of a Keras model's own file stand for: the parameters of the layers in it.

A wrapper, a model inside another and one cell of several hold weights under names that no layer
alone is written under. Reading the file tells which layer each weight is of. The layer is written
again, with numbers that tell all elements of the file apart in place of its values: what comes out
whole and in order is that very weight, and what does not has no place in the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from ckptconv.checkpoint import Checkpoint, KerasFacts, join
from ckptconv.dialects import keras
from ckptconv.errors import CkptconvError
from ckptconv.graph.graph import Graph, Layer
from ckptconv.graph.kinds import PARAMETER
from ckptconv.graph.lowered import Lowered, Part
from ckptconv.options import ReadOptions
from ckptconv.passes.match.slashed import plain, plainly, renamed, titles
from ckptconv.passes.match.written import Lower, written
from ckptconv.spelling import option
from ckptconv.tensors.dtypes import named
from ckptconv.tensors.lazy import np
from ckptconv.tensors.regions import Array, Region
from ckptconv.tensors.tensor import Tensor

_FIRST = 2
"""Of the numbers: a norm's ones and zeros are none of them."""


def plain_names(target: Checkpoint, variant: str) -> dict[str, str]:
    """Return name → ``module.parameter`` of the parameters of a target network.

    Args:
        variant: the layout that is to be written.

    Raises:
        CkptconvError: the target's file has the other layout.
    """
    facts = target.facts
    if isinstance(facts, KerasFacts) and facts.layout != (variant or "legacy"):
        expected = ".weights.h5" if facts.layout == "weights.h5" else ".h5, and not .weights.h5"
        raise CkptconvError(
            f"{option('like')}: a file of another layout",
            file=target.path,
            expected=f"a name that ends in {expected} for what is written",
        )
    names = plain(target.tensors, titles(facts))
    known = _by_layers(target, variant) if isinstance(facts, KerasFacts) else {}
    count = Counter({**names, **known}.values())
    return names | {name: new for name, new in known.items() if count[new] == 1}


def as_in(lowered: Lowered, names: Mapping[str, str], target: Checkpoint, variant: str) -> Lowered:
    """Return what was matched by plain names under the target's own, in its order of layers.

    Args:
        names: what ``plain_names`` gave.
    """
    facts = target.facts if isinstance(target.facts, KerasFacts) else None
    full = {new: old for old, new in names.items()}
    return replace(renamed(lowered, full), facts=facts_in(target.tensors, facts, variant))


def facts_in(names: Iterable[str], target: KerasFacts | None, variant: str) -> KerasFacts:
    """Return the order of layers and weights that the target's own file has, or its list."""
    if variant == "weights.h5":
        return KerasFacts("weights.h5", names=target.names if target else {})
    if target is not None and target.weights:
        return KerasFacts("legacy", weights=target.weights)
    weights: dict[str, list[str]] = {}
    for name in names:
        layer, _, weight = name.partition("/")
        weights.setdefault(layer, []).append(weight)
    return KerasFacts("legacy", weights={layer: tuple(own) for layer, own in weights.items()})


def _by_layers(target: Checkpoint, variant: str) -> dict[str, str]:
    """Return name → ``module.parameter`` of the weights that a Keras file's layers are made of."""
    numbered = replace(target, tensors=_numbered(target.tensors))
    graph, found = _read(numbered), dict[str, str]()
    write = plainly(lambda graph: keras.lower(graph, variant))
    for layer in graph or ():
        path = layer.path.rpartition(".")[0] if layer.kind == PARAMETER else layer.path
        forms = _written(layer, graph, write) if graph else []
        leaves = next(filter(None, (_leaves(layer, part, numbered) for part in forms)), {})
        found |= {name: join(path, leaf) for name, leaf in leaves.items()}
    return found


def _read(target: Checkpoint) -> Graph | None:
    """Return the layers of a file, also where only a written network can compute them."""
    for apart in (False, True):
        with suppress(CkptconvError):
            return keras.lift(target, ReadOptions(), apart=apart)
    return None


def _written(layer: Layer, graph: Graph, write: Lower) -> list[Part]:
    try:
        return [part for _, part in written(layer, graph, [write])]
    except CkptconvError:
        return []


def _leaves(layer: Layer, part: Part, file: Checkpoint) -> dict[str, str]:
    """Return name in the file → name below the module, of a layer that comes out as it was."""
    held = {n for t in layer.params.values() for n in file.provenance.names(t)}
    found = dict(_pairs(part, file))
    return found if found.keys() == held and len(found) == len(part.tensors) else {}


def _pairs(part: Part, file: Checkpoint) -> Iterator[tuple[str, str]]:
    for leaf, tensor in part.tensors.items():
        for name in file.provenance.names(tensor):
            if _are_one(tensor, file.tensors[name]):
                yield name, leaf


def _are_one(made: Tensor, stored: Tensor) -> bool:
    if made is stored or made.shape != stored.shape:
        return made is stored
    blocks = zip(made.blocks(), stored.blocks(), strict=True)
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

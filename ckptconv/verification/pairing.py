"""Finding each layer's counterpart in another checkpoint, whatever it is called there.

Both sides are taken apart into *parts*: a layer, or one level of a stacked recurrent layer, so
that n Keras layers meet one torch layer of n levels. Parts are paired by path; where paths differ,
by kind and shapes in model order; never by their values, which are what is to be proven.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from ckptconv.graph.graph import Graph, Layer, RecurrentLayer, cell_params, is_projected
from ckptconv.passes.cast import widened_layer
from ckptconv.passes.fold_projection import fold_projection
from ckptconv.tensors.tensor import Tensor
from ckptconv.verification.reference.forward import weights_of


@dataclass(frozen=True)
class Part:
    """A layer, or level ``index`` of a recurrent layer, with its directions.

    Attributes:
        level: the part as a layer of its own; ``layer`` itself where that is not recurrent.
        of: how many levels the layer has.
    """

    layer: Layer
    level: Layer
    index: int = 0
    of: int = 1

    @property
    def name(self) -> str:
        level = f" (level {self.index})" if self.stacked else ""
        return f"{self.layer.path or '(root)'}{level}"

    @property
    def stacked(self) -> bool:
        return self.of > 1

    @property
    def params(self) -> Mapping[str, Tensor]:
        """The part's parameters; those of a recurrent one as of a layer of one level."""
        return self.level.params

    @cached_property
    def signature(self) -> Hashable:
        """Equal for parts that could be each other's counterpart."""
        if isinstance(self.level, RecurrentLayer):
            weights = weights_of(self.level)
            return (weights.kind, *weights.shape, weights.input_size)
        if "weight" in self.params:
            return self.params["weight"].shape
        return max((t.shape for t in self.params.values()), key=lambda shape: (len(shape), shape))

    @property
    def key(self) -> str:
        """The path as any framework can spell it."""
        spelt = re.sub(r"[^a-z0-9]+", "_", self.layer.path.lower())
        return spelt + (f"_l{self.index}" if self.stacked else "")


class Fold(NamedTuple):
    """A projected layer, and the layers that compute the same without a projection."""

    original: RecurrentLayer
    lstm: Layer
    dense: Layer


def fold_like(graph: Graph, other: Graph) -> tuple[Graph, list[Fold]]:
    """Fold the projected layers of a graph that the other has in no projected form.

    Products are rounded as a conversion to the other's dtype rounds them.
    """
    known = {part.signature for part in parts(other)}
    folds: list[Fold] = []
    layers: list[Layer] = []
    for layer in graph:
        if is_projected(layer) and Part(layer, levels(layer)[0]).signature not in known:
            dtypes = [one.cells[0, 0].w_hh.dtype for one in other.recurrent]
            wide = [widened_layer(layer, dtype, graph.origin.provenance) for dtype in dtypes]
            folds.append(Fold(layer, *fold_projection((wide or [layer])[0])))
            layers += folds[-1][1:]
        else:
            layers.append(layer)
    return (replace(graph, layers=tuple(layers)) if folds else graph), folds


class Paired(NamedTuple):
    """Parts and their counterparts, in the first side's order, and those that have none."""

    both: list[tuple[Part, Part]]
    only_a: list[Part]
    only_b: list[Part]


def sublayer(layer: RecurrentLayer, first: int, count: int) -> RecurrentLayer:
    """Return ``count`` levels of a recurrent layer from ``first`` on as a layer of its own."""
    params: dict[str, Tensor] = {}
    for (k, d), cell in layer.cells.items():
        if first <= k < first + count:
            params |= cell_params(cell, k - first, d)
    return _recurrent(layer, params)


def levels(layer: RecurrentLayer) -> list[RecurrentLayer]:
    """Return every level of a recurrent layer as a layer of its own."""
    found: list[dict[str, Tensor]] = []
    for (k, d), cell in sorted(layer.cells.items()):
        found += [{}] * (k == len(found))
        found[k] = found[k] | cell_params(cell, 0, d)
    return [_recurrent(layer, params) for params in found]


def parts(graph: Graph) -> list[Part]:
    """Take a graph apart."""
    found = []
    for layer in graph:
        own = levels(layer) if isinstance(layer, RecurrentLayer) else [layer]
        found += [Part(layer, level, index, len(own)) for index, level in enumerate(own)]
    return found


def _recurrent(layer: RecurrentLayer, params: dict[str, Tensor]) -> RecurrentLayer:
    return RecurrentLayer(layer.path, layer.base, params, layer.attributes)


_KEYS: tuple[Callable[[Part], Hashable], ...] = (
    lambda part: (part.layer.path, part.index, part.signature),
    lambda part: (part.key, part.signature),
    lambda part: part.signature,
    lambda part: (part.layer.path, part.index),
)
"""What counterparts have in common, the surest first; the last pairs what then differs."""


def pair(a: Graph, b: Graph) -> Paired:
    """Pair the parts of two graphs."""
    left, right = parts(a), parts(b)
    order = {id(part): i for i, part in enumerate(left)}
    both: list[tuple[Part, Part]] = []
    for key in _KEYS:
        waiting: dict[Hashable, list[Part]] = {}
        for part in right:
            waiting.setdefault(key(part), []).append(part)
        rest = []
        for part in left:
            others = waiting.get(key(part), [])
            if others:
                both.append((part, others.pop(0)))
            else:
                rest.append(part)
        taken = {id(other) for _, other in both}
        left, right = rest, [part for part in right if id(part) not in taken]
    both.sort(key=lambda found: order[id(found[0])])
    return Paired(both, left, right)


class Block(NamedTuple):
    """A layer of the first side and what computes the same on the second, one after the other.

    Attributes:
        layer: as the first side has it.
        parts: the counterparts, level by level.
        source: a recurrent ``layer`` under the names of a stacked one, as the first file has it;
            None for others.
        chain: the second side's layers, each with the levels that count; empty if not recurrent.
        dense: where ``source`` is projected and ``chain`` is not, what follows ``chain``: the
            weight of the Dense, (D·P, D·H).
    """

    layer: Layer
    parts: list[tuple[Part, Part]]
    source: RecurrentLayer | None = None
    chain: tuple[RecurrentLayer, ...] = ()
    dense: Tensor | None = None


def blocks(paired: Paired, folds: Sequence[Fold] = ()) -> list[Block]:
    """Gather counterparts by the first side's layers; runs of levels of one layer stay together."""
    gathered: dict[int, list[tuple[Part, Part]]] = {}
    for one, other in paired.both:
        gathered.setdefault(id(one.layer), []).append((one, other))
    found = {key: _block(met) for key, met in gathered.items()}
    for fold in folds:
        lstm, dense = found.get(id(fold.lstm)), found.get(id(fold.dense))
        if lstm and lstm.source and dense:
            source = sublayer(fold.original, 0, fold.original.num_layers)
            weight = dense.parts[0][1].params["weight"]
            found[id(fold.lstm)] = lstm._replace(source=source, dense=weight)
    return list(found.values())


def _block(met: list[tuple[Part, Part]]) -> Block:
    layer = met[0][0].layer
    if not isinstance(layer, RecurrentLayer) or len(met) != met[0][0].of:
        return Block(layer, met)
    runs: list[list[tuple[RecurrentLayer, int]]] = []
    for _, other in met:
        found, index = other.layer, other.index
        if not isinstance(found, RecurrentLayer) or found.base != layer.base:
            return Block(layer, met)
        last = runs[-1][-1] if runs else None
        if last is not None and last[0] is found and last[1] + 1 == index:
            runs[-1].append((found, index))
        else:
            runs.append([(found, index)])
    chain = [sublayer(*run[0], len(run)) for run in runs]
    # What only one file records of a layer holds for its counterpart: nonlinearity.
    said = {**chain[0].attributes, **layer.attributes}
    source = replace(sublayer(layer, 0, len(met)), attributes=said)
    targets = (replace(found, attributes={**said, **found.attributes}) for found in chain)
    return Block(layer, met, source, tuple(targets))

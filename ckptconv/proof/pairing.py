"""Finding each layer's counterpart in another checkpoint, whatever it is called there.

Both sides are taken apart into *parts*: a layer, or one level of a stacked recurrent layer, so
that n Keras layers meet one torch layer of n levels. Parts are paired by path; where paths differ,
by kind and shapes in model order; never by their values, which are what is to be proven.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple

from ckptconv.graph import Graph, Layer, cell_params
from ckptconv.layers import KINDS
from ckptconv.proof.reference import GATES, weights_of
from ckptconv.relayout import add
from ckptconv.tensor import FilledTensor, Tensor, trace


@dataclass(frozen=True)
class Part:
    """A layer, or level ``index`` of a recurrent layer, with its directions."""

    layer: Layer
    index: int = 0

    @property
    def name(self) -> str:
        level = f" (level {self.index})" if self.stacked else ""
        return f"{self.layer.path or '(root)'}{level}"

    @property
    def stacked(self) -> bool:
        return self.layer.recurrent is not None and self.layer.num_layers > 1

    @property
    def params(self) -> dict[str, Tensor]:
        """The part's parameters; those of a recurrent one as of a layer of one level."""
        return (
            sublayer(self.layer, self.index, 1).params
            if self.layer.recurrent
            else self.layer.params
        )

    @property
    def signature(self) -> Hashable:
        """Equal for parts that could be each other's counterpart."""
        if self.layer.recurrent:
            weights = weights_of(sublayer(self.layer, self.index, 1))
            return (weights.kind, *weights.shape, weights.input_size)
        main = self.params.get("weight", next(iter(self.params.values())))
        return main.shape

    @property
    def key(self) -> str:
        """The path as any framework can spell it."""
        spelt = re.sub(r"[^a-z0-9]+", "_", self.layer.path.lower())
        return spelt + (f"_l{self.index}" if self.stacked else "")


class Paired(NamedTuple):
    """Parts and their counterparts, in the first side's order, and those that have none."""

    both: list[tuple[Part, Part]]
    only_a: list[Part]
    only_b: list[Part]


class Item(NamedTuple):
    """Two tensors that must be equal.

    Attributes:
        name_a, name_b: as each file calls them; ``""`` where it has none.
        gates: the letters of the gates stacked along ``axis``, in order, if any.
        how: what is compared, where that is not the tensors as they are.
    """

    name_a: str
    name_b: str
    a: Tensor
    b: Tensor
    gates: str = ""
    axis: int = 0
    how: str = ""

    def turned(self) -> Item:
        """Return the same with the sides exchanged."""
        return self._replace(name_a=self.name_b, name_b=self.name_a, a=self.b, b=self.a)


def sublayer(layer: Layer, first: int, count: int) -> Layer:
    """Return ``count`` levels of a recurrent layer from ``first`` on as a layer of its own."""
    params: dict[str, Tensor] = {}
    for (k, d), cell in layer.cells().items():
        if first <= k < first + count:
            params |= cell_params(cell, k - first, d)
    return Layer(layer.path, layer.recurrent or layer.kind, params, layer.attributes)


def parts(graph: Graph) -> list[Part]:
    """Take a graph apart."""
    return [
        Part(layer, index)
        for layer in graph
        for index in range(layer.num_layers if layer.recurrent else 1)
    ]


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
        source: a recurrent ``layer`` under the names of a stacked one; None for others.
        chain: the second side's layers, each with the levels that count; empty if not recurrent.
    """

    layer: Layer
    parts: list[tuple[Part, Part]]
    source: Layer | None = None
    chain: tuple[Layer, ...] = ()


def blocks(paired: Paired) -> list[Block]:
    """Gather counterparts by the first side's layers; runs of levels of one layer stay together."""
    gathered: dict[int, list[tuple[Part, Part]]] = {}
    for one, other in paired.both:
        gathered.setdefault(id(one.layer), []).append((one, other))
    return [_block(met) for met in gathered.values()]


def _block(met: list[tuple[Part, Part]]) -> Block:
    layer = met[0][0].layer
    whole = layer.recurrent and len(met) == layer.num_layers
    if not whole or any(other.layer.recurrent != layer.recurrent for _, other in met):
        return Block(layer, met)
    runs: list[list[Part]] = []
    for _, other in met:
        last = runs[-1][-1] if runs else None
        if last is not None and last.layer is other.layer and last.index + 1 == other.index:
            runs[-1].append(other)
        else:
            runs.append([other])
    chain = [sublayer(run[0].layer, run[0].index, len(run)) for run in runs]
    source = sublayer(layer, 0, layer.num_layers)
    # What only one file records of a layer holds for its counterpart: nonlinearity.
    source.attributes = {**chain[0].attributes, **source.attributes}
    for found in chain:
        found.attributes = {**source.attributes, **found.attributes}
    return Block(layer, met, source, tuple(chain))


class Met(NamedTuple):
    """What two parts have to do with each other.

    Attributes:
        equal: what must be equal; of a parameter that one side lacks, what its absence means.
        left_out: parameters that the other side's framework does not have, by the table.
    """

    equal: list[Item]
    left_out: list[str]


def items(a: Part, b: Part, names: Names, frameworks: tuple[str, str]) -> Met:
    """Return what must be equal of two counterparts."""
    left, right = dict(a.params), dict(b.params)
    met = Met([], [])
    kind = a.layer.recurrent or ""
    for suffix in ("", "_reverse") if kind in ("LSTM", "RNN") else ():
        met.equal.extend(_summed(a, left, right, f"_l0{suffix}", names))
    for name in [name for name in left if name in right]:
        one, other = left.pop(name), right.pop(name)
        gates = GATES[kind] if kind and "hr" not in name else ""
        met.equal.append(Item(names.of(a, name, one), names.of(b, name, other), one, other, gates))
    for name, tensor in left.items():
        if _absent(a, name, frameworks[1]):
            met.left_out.append(names.of(a, name, tensor))
        else:
            met.equal.append(_against_fill(names.of(a, name, tensor), tensor, a, name))
    for name, tensor in right.items():
        if _absent(b, name, frameworks[0]):
            met.left_out.append(names.of(b, name, tensor))
        else:
            met.equal.append(_against_fill(names.of(b, name, tensor), tensor, b, name).turned())
    return met


def _absent(part: Part, name: str, framework: str) -> bool:
    """Tell whether a framework has no such parameter in this kind of layer."""
    rows = {row.name: row for row in KINDS.get(part.layer.kind, ())}
    return name in rows and rows[name].column(framework)[0] == "-"


def _summed(
    part: Part, left: dict[str, Tensor], right: dict[str, Tensor], suffix: str, names: Names
) -> list[Item]:
    """Take the biases out that one side holds as a sum: there is no other way to compare them."""
    one, other = ([s.pop(f"bias_{n}{suffix}", None) for n in ("ih", "hh")] for s in (left, right))
    if single(one[1]) == single(other[1]) or one[0] is None or other[0] is None:
        for side, biases in ((left, one), (right, other)):
            named = zip(("ih", "hh"), biases, strict=True)
            side |= {f"bias_{n}{suffix}": b for n, b in named if b is not None}
        return []
    a, b = (x[0] if x[1] is None else add(x[0], x[1]) for x in (one, other) if x[0] is not None)
    gates = GATES[part.layer.recurrent or ""]
    name = [" + ".join(dict.fromkeys(names.leaves(t))) for t in (a, b)]
    return [Item(name[0], name[1], a, b, gates, how="sum of the biases")]


def single(recurrent_bias: Tensor | None) -> bool:
    """Tell whether a file holds no recurrent bias of its own beside the other one."""
    return recurrent_bias is None or isinstance(recurrent_bias, FilledTensor)


def _against_fill(full_name: str, tensor: Tensor, part: Part, name: str) -> Item:
    """Hold a parameter that the other side lacks against what is computed without it."""
    rows = {row.name: row for row in KINDS.get(part.layer.kind, ())}
    fill = FilledTensor(tensor.shape, tensor.dtype, rows[name].fill if name in rows else 0.0)
    return Item(full_name, "(none)", tensor, fill, how="against what its absence means")


class Names:
    """What the tensors of a graph are called in its file."""

    def __init__(self, *graphs: Graph) -> None:
        self._names = {id(t): name for graph in graphs for name, t in graph.tensors.items()}

    def leaves(self, tensor: Tensor) -> list[str]:
        origins = trace(tensor, self._names).origins
        return [self._names[id(origin)] for origin in origins if id(origin) in self._names]

    def of(self, part: Part, param: str, tensor: Tensor) -> str:
        """Return a parameter's name in its file, or its canonical one if it was made up."""
        return " + ".join(self.leaves(tensor)) or part.layer.full_name(param)

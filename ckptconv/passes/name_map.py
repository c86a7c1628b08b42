"""``--map``: a table of "source" = "target" over modules, parameters and parts of parameters.

A module's entry moves it and all below it. Where the target has taken a module apart, entries speak
of parameters by their canonical names, with slices as Python spells them on either side, ``.T`` and
sums on the left::

    "decoder.rnn.weight_ih" = "decoder.rnn.linear1.weight"
    "attn.qkv.weight[0:64]" = "attn.q.weight"
    "rnn.weight_ih_l0[0:64].T" = "rnn.w[0:32, 0:64]"
    "rnn.bias_ih_l0 + rnn.bias_hh_l0" = "rnn.b"

All entries apply at once. What an entry takes apart must be used wholly, each value once.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from ckptconv.errors import CkptconvError, DialectError, listed
from ckptconv.graph.graph import Graph, Layer
from ckptconv.graph.kinds import PARAMETER
from ckptconv.passes.map_terms import Term, parsed
from ckptconv.spelling import option
from ckptconv.tensors.computed import add
from ckptconv.tensors.ops import cut, transpose
from ckptconv.tensors.regions import Region
from ckptconv.tensors.tensor import Tensor
from ckptconv.tensors.tiled import overlapping, shown, tiled

_SUGGESTED = 3
_LISTED = 20


class _Place(NamedTuple):
    """A parameter of the graph: its layer's number and its name there."""

    layer: int
    param: str


class _Taken(NamedTuple):
    """What one side of an entry reads: a parameter's region."""

    place: _Place
    region: Region


def apply_map(graph: Graph, table: Mapping[str, str]) -> Graph:
    """Return the graph with the paths of a table that a user wrote; see above.

    Raises:
        CkptconvError: an entry that fits nothing, entries that overlap or leave out a part, or a
            right side that is no name.
    """
    paths = _paths(graph)
    for left, right in table.items():
        term = parsed(right) if right else Term("", "")
        empty = bool(term.name) and "" in term.name.split(".")
        if term.turned or empty or " + " in term.name or (term.slices and left in paths):
            raise CkptconvError(
                f"{option('map')}: not a name that a target has",
                tensor=right,
                expected="a path, or a slice of a parameter; .T and sums stand on the left",
            )
    return moved(graph, table)


def moved(graph: Graph, table: Mapping[str, str]) -> Graph:
    """Return the graph with the paths of a table.

    Raises:
        CkptconvError: an entry that fits nothing, or entries that overlap or leave out a part.
    """
    if not table:
        return graph
    params = {
        layer.full_name(param): _Place(number, param)
        for number, layer in enumerate(graph)
        if layer.kind != PARAMETER
        for param in layer.params
    }
    paths = _paths(graph)
    modules = {left: right for left, right in table.items() if left in paths}
    pieces: dict[str, list[tuple[Region, Tensor]]] = {}
    taken: list[_Taken] = []
    for left, right in table.items():
        if left not in modules:
            value, read = _value(left, graph, params)
            taken += read
            term = parsed(right)
            pieces.setdefault(term.name, []).append((term.region_to_fill(value.shape), value))
    _check_taken(graph, taken)
    made = {name: _made(name, parts) for name, parts in pieces.items()}
    return _rebuilt(graph, modules, {read.place.layer for read in taken}, made)


def _rebuilt(
    graph: Graph, modules: Mapping[str, str], gone: set[int], made: Mapping[str, Layer]
) -> Graph:
    """Move modules, and put what was made of others in the place of the first of them."""
    layers: list[Layer] = []
    named: set[str] = set(made)
    used: set[str] = set()
    for number, layer in enumerate(graph):
        if number in gone:
            layers += made.values() if number == min(gone) else ()
            continue
        entry = next((head for head in _heads(layer.path) if head in modules), None)
        if entry is not None:
            used.add(entry)
            path = (modules[entry] + layer.path.removeprefix(entry)).strip(".")
            named |= {path} if entry == layer.path else set()
            layer = layer.moved(path)
        if not layer.path and "" in layer.params:
            raise DialectError(f"{option('map')} leaves a parameter without a name")
        layers.append(layer)
    for entry in modules:
        if entry not in used:
            raise CkptconvError(
                f"{option('map')}: all of it is moved by other entries", tensor=entry
            )
    return replace(graph, layers=tuple(layers), named=graph.named | named)


def _paths(graph: Graph) -> set[str]:
    return {head for layer in graph for head in _heads(layer.path)}


def _heads(path: str) -> Iterator[str]:
    """Return a path and the modules above it, but not the root above those."""
    steps = path.split(".")
    return (".".join(steps[:count]) for count in range(len(steps), 0, -1))


def _value(left: str, graph: Graph, params: Mapping[str, _Place]) -> tuple[Tensor, list[_Taken]]:
    """Return what the left side of an entry means, and what it reads."""
    texts = [text.strip() for text in left.split(" + ")] if left not in params else [left]
    values: list[Tensor] = []
    taken: list[_Taken] = []
    for text in texts:
        term = Term(text, text) if text in params else parsed(text)
        if term.name not in params:
            raise _unknown(left, term.name, params, graph)
        place = params[term.name]
        tensor = graph.layers[place.layer].params[place.param]
        region = term.region_of(tensor.shape)
        taken.append(_Taken(place, region))
        for axis, (start, stop) in enumerate(region):
            if (start, stop) != (0, tensor.shape[axis]):
                tensor = cut(tensor, axis, start, stop, f"slice {shown(region)}")
        values.append(transpose(tensor, tuple(range(tensor.ndim))[::-1]) if term.turned else tensor)
    shapes = {(value.shape, value.dtype) for value in values}
    if len(shapes) > 1:
        found = " and ".join(f"{v.shape} {v.dtype.name}" for v in values)
        raise CkptconvError(f"{option('map')}: a sum of unequal parts", tensor=left, found=found)
    return functools.reduce(add, values), taken


def _made(name: str, parts: list[tuple[Region, Tensor]]) -> Layer:
    try:
        return Layer(name, PARAMETER, {"": tiled(parts)}, evidence="the map")
    except ValueError as error:
        raise CkptconvError(f"{option('map')}: {error}", tensor=name) from None


def _check_taken(graph: Graph, taken: list[_Taken]) -> None:
    """Hold what entries read against what the layers they take apart have."""
    read: dict[_Place, list[Region]] = {}
    for place, region in taken:
        read.setdefault(place, []).append(region)
    for number in sorted({place.layer for place in read}):
        layer = graph.layers[number]
        for param, tensor in layer.params.items():
            regions = read.get(_Place(number, param), [])
            if both := overlapping(regions):
                twice = f"{shown(both[0])} and {shown(both[1])}"
                problem = f"{option('map')} uses a part of it twice: {twice} overlap"
                raise CkptconvError(problem, tensor=layer.full_name(param))
            size = sum(math.prod(b - a for a, b in region) for region in regions)
            if size != tensor.size:
                problem = (
                    f"no entry of {option('map')} says where {tensor.size - size} of its values go"
                )
                name = layer.full_name(param)
                hint = f'{option("drop", ["unused"])}; with "{name}" = "unused" in the map'
                raise CkptconvError(problem, tensor=name, hint=None if regions else hint)


def _unknown(left: str, name: str, params: Mapping[str, _Place], graph: Graph) -> CkptconvError:
    modules = [layer.path for layer in graph]
    close = difflib.get_close_matches(name, [*params, *modules], _SUGGESTED, 0.3)
    return CkptconvError(
        f"{option('map')}: matches no module and no parameter of the source",
        tensor=left,
        expected=f"below {listed(modules, _LISTED)}",
        hint=" or ".join(close) or None,
    )

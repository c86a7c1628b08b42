"""The way home: layers get the paths, and the stacking, that the source of a conversion had.

The report of that conversion says from which source tensors each tensor of its target came. A file
that it wrote, or one that was trained on since, is taken back by those names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from ckptconv.errors import CkptconvError
from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
from ckptconv.graph.kinds import PARAMETER
from ckptconv.passes.name_map import moved
from ckptconv.passes.restore.told import CAST, Told
from ckptconv.passes.stack import fuse, split
from ckptconv.spelling import option
from ckptconv.tensors.tensor import Tensor

_OF_CELLS = ("input_size", "hidden_size", "bias", "nonlinearity")
_CONSTANTS: Mapping[tuple[str, ...], int] = {("ones",): 1, ("zeros",): 0}
_LEVEL = re.compile(r"(?:weight|bias)_[ih]h_l(\d+)")
_PARTS = re.compile(r"(?:^|[.])parametrizations[.].*")


class _Memory:
    """What the report tells of the tensors that those of a graph come from."""

    def __init__(self, graph: Graph, told: Mapping[str, Told]) -> None:
        self._names, self._told = graph.origin.provenance, told
        self._places = {name: place for place, name in enumerate(told)}

    def place(self, layer: Layer) -> int | None:
        """Return where in the report a layer stands, None for one that is new."""
        names = (name for tensor in layer.params.values() for name in self._names.names(tensor))
        return min((self._places[name] for name in names if name in self._places), default=None)

    def of(self, tensor: Tensor) -> list[Told]:
        found = (self._told.get(name) for name in self._names.names(tensor))
        return [entry for entry in found if entry is not None]

    def sources(self, tensor: Tensor) -> list[str]:
        """Return the names that a tensor comes from in the source of that conversion."""
        return [source for entry in self.of(tensor) for source in entry.sources]


class _Home(NamedTuple):
    """Where a layer, or a level of one, comes from."""

    path: str
    level: int


def go_home(graph: Graph, told: Mapping[str, Told], framework: str) -> Graph:
    """Return the graph with the paths of the source of the conversion that made its file.

    Args:
        framework: whose names that source had.

    Raises:
        CkptconvError: a report of none of these tensors, or what cannot be taken back.
    """
    memory = _Memory(graph, told)
    if not any(name in told for name in graph.origin.tensors):
        raise CkptconvError("tells of no tensor of the file")
    for name, entry in told.items():
        if entry.kind == PARAMETER and _is_changed(entry):
            raise _remade(name, entry.sources)
    graph = _in_order(_without_added(graph, memory), memory)
    for layer in graph.recurrent:
        homes = _levels(layer, memory)
        if len(homes) > 1 and len({home.path for home in homes}) == len(homes):
            graph = split(graph, layer.path, _joint(graph, layer))
    graph = _fused(_with_cells(graph, memory), memory)
    first = {layer.path: next(_homes(layer, memory), None) for layer in graph}
    table = {path: home for path, home in first.items() if home is not None}
    count = Counter(home for home in table.values() if home)
    apart = {path for path, home in table.items() if count[home] > 1}
    if framework == "keras":  # layers of one that holds them, which is written as they are
        table = {path: home for path, home in table.items() if path not in apart}
        apart = set()
    changed = {old: new for old, new in table.items() if old != new and old not in apart}
    layers = [layer for layer in graph if layer.path in apart]
    return moved(graph, changed | dict(_by_parameter(layers, memory, framework)))


def _in_order(graph: Graph, memory: _Memory) -> Graph:
    """Put the layers in the order of the report; formats that sort names have lost it."""
    last, placed = 0, list[tuple[int, Layer]]()
    for layer in graph:
        place = memory.place(layer)
        last = last if place is None else place
        placed.append((last, layer))
    layers = tuple(layer for _, layer in sorted(placed, key=lambda pair: pair[0]))
    return replace(graph, layers=layers)


def _without_added(graph: Graph, memory: _Memory) -> Graph:
    """Take off the constants that the conversion added for a target that has them always; one that
    was trained since stays. Take off those of a program, too."""
    names = graph.origin.provenance.names
    layers: list[Layer] = []
    omitted: dict[str, str] = {}
    for layer in graph:
        if any(entry.is_constant for t in layer.params.values() for entry in memory.of(t)):
            omitted |= {layer.path: "restored: a constant of the program, which no state_dict has"}
            continue
        added = {p for p, t in layer.params.items() if _is_added(t, memory.of(t)[-1:])}
        if added and not isinstance(layer, RecurrentLayer):
            rest = {p: tensor for p, tensor in layer.params.items() if p not in added}
            gone = (name for p in added for name in names(layer.params[p]))
            omitted |= dict.fromkeys(gone, "restored: added by the conversion")
            layer = replace(layer, params=rest)
        layers.append(layer)
    return replace(graph, layers=tuple(layers), omitted={**graph.omitted, **omitted})


def _is_added(tensor: Tensor, entries: Iterable[Told]) -> bool:
    values = (_CONSTANTS.get(entry.operations) for entry in entries if not entry.sources)
    return any(value is not None and (tensor.numpy() == value).all() for value in values)


def _with_cells(graph: Graph, memory: _Memory) -> Graph:
    """Make cells again of the layers that a framework without cells' names made of them."""
    layers: list[Layer] = []
    for layer in graph:
        first = [tensor for name, tensor in layer.params.items() if name == "weight_ih_l0"]
        sources = [source for tensor in first for source in memory.sources(tensor)]
        was_cell = any(source.endswith(".weight_ih") for source in sources)
        if was_cell and isinstance(layer, RecurrentLayer) and len(layer.cells) == 1:
            params = {name.removesuffix("_l0"): tensor for name, tensor in layer.params.items()}
            kept = {name: v for name, v in layer.attributes.items() if name in _OF_CELLS}
            layer = replace(layer, kind=f"{layer.base}Cell", params=params, attributes=kept)
        layers.append(layer)
    return replace(graph, layers=tuple(layers))


def _fused(graph: Graph, memory: _Memory) -> Graph:
    """Join layers of one level each that were the levels of one layer."""
    stacks: dict[str, dict[int, str]] = {}
    for layer in graph.recurrent:
        if not layer.is_cell and layer.num_layers == 1:
            for home in _levels(layer, memory):
                stacks.setdefault(home.path, {})[home.level] = layer.path
    for parts in stacks.values():
        if len(parts) > 1:  # the report says that one feeds the other, whatever the file does
            ordered = [parts[level] for level in sorted(parts)]
            graph = fuse(replace(graph, feeds=None), ordered[0], ordered)
    return graph


def _joint(graph: Graph, layer: RecurrentLayer) -> str:
    """Return what stands before the numbers of a layer's levels and gives no path twice."""
    taken, joint = {other.path for other in graph}, "_"
    while any(f"{layer.path}{joint}{k}" in taken for k in range(layer.num_layers)):
        joint += "_"
    return joint


def _levels(layer: RecurrentLayer, memory: _Memory) -> list[_Home]:
    if layer.is_cell:
        return []
    ordered = sorted(layer.cells.items())
    found = (_home(layer, f"weight_ih_l{k}", cell.w_ih, memory) for (k, _), cell in ordered)
    return list(dict.fromkeys(home for home in found if home is not None))


def _homes(layer: Layer, memory: _Memory) -> Iterator[str]:
    """Yield where a layer comes from; several for one that was put together."""
    found = (_home(layer, name, t, memory) for name, t in layer.params.items())
    yield from dict.fromkeys(home.path for home in found if home is not None)


def _home(layer: Layer, param: str, tensor: Tensor, memory: _Memory) -> _Home | None:
    """Return the module of the source, and the level there, that a parameter comes from."""
    if not (sources := memory.sources(tensor)):
        return None
    first, entry = sources[0], memory.of(tensor)[0]
    path = entry.path
    level = _LEVEL.search(first)
    number = int(level[1]) if level else 0
    if layer.kind == PARAMETER:
        return _Home(first, number)
    if "/" in first:
        scope = first.partition("/")[0]
        return _Home(entry.read_as if scope == "layers" else scope, number)
    inner = _PARTS.sub("", first.removesuffix(f".{param}"))
    below = all(source.startswith(f"{path}.") for source in sources)
    if below or (not path and inner == first):
        return _Home(path, number)
    return _Home(inner if inner != first else first.rpartition(".")[0], number)


def _by_parameter(
    layers: Iterable[Layer], memory: _Memory, framework: str
) -> Iterator[tuple[str, str]]:
    """Yield the entries of a map for modules that were taken apart.

    Raises:
        CkptconvError: a parameter was put together of several, or of a part of one, or stands in
            the source as no map can write it.
    """
    used: set[str] = set()
    for layer in layers:
        for param, tensor in layer.params.items():
            sources = memory.sources(tensor)
            written = layer.kind == PARAMETER or framework == "torch"
            if len(sources) != 1 or sources[0] in used or not written:
                raise _remade(layer.full_name(param), sources)
            used.add(sources[0])
            yield layer.full_name(param), sources[0]


def _is_changed(entry: Told) -> bool:
    """Tell a bare parameter that the conversion made of parts, of several, or turned."""
    moved = [each for each in entry.operations if not each.startswith(CAST)]
    return len(entry.sources) > 1 or bool(entry.sources and moved)


def _remade(name: str, sources: Iterable[str]) -> CkptconvError:
    return CkptconvError(
        f"{option('restore')} cannot take back what the conversion put together or took apart",
        tensor=name,
        expected="what was one tensor of the source",
        found=", ".join(sources) or None,
        hint=f"{option('map', 'map.toml')}; with the entries of the map that it was turned round",
    )

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

from ckptconv.errors import CkptconvError, listed
from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
from ckptconv.graph.kinds import PARAMETER
from ckptconv.passes.name_map import moved
from ckptconv.passes.restore.told import Told
from ckptconv.passes.stack import fuse, split
from ckptconv.spelling import option
from ckptconv.tensors.provenance import Provenance
from ckptconv.tensors.tensor import Tensor

_OF_CELLS = ("input_size", "hidden_size", "bias", "nonlinearity")
_CAST = "cast "
_CONSTANTS: Mapping[tuple[str, ...], int] = {("ones",): 1, ("zeros",): 0}
_LEVEL = re.compile(r"(?:weight|bias)_[ih]h_l(\d+)")
_PARTS = re.compile(r"(?:^|[.])parametrizations[.].*")


class _Home(NamedTuple):
    """Where a layer, or a level of one, comes from."""

    path: str
    level: int


def go_home(graph: Graph, told: Mapping[str, Told], framework: str) -> Graph:
    """Return the graph with the paths of the source of the conversion that made its file.

    Args:
        framework: whose names that source had.

    Raises:
        CkptconvError: the report of another conversion, or what cannot be taken back.
    """
    names = graph.origin.provenance
    if not any(name in told for name in graph.origin.tensors):
        raise CkptconvError(
            "the report is of another conversion",
            expected=f"tensors of {graph.origin.path or 'the file'}",
            found=listed(told, 3) or "none",
        )
    for name, entry in told.items():
        if entry.kind == PARAMETER and _is_changed(entry):
            raise _remade(name, entry.sources)
    graph = _without_added(graph, names, told)
    for layer in graph.recurrent:
        homes = _levels(layer, names, told)
        if len(homes) > 1 and len({home.path for home in homes}) == len(homes):
            graph = split(graph, layer.path)
    graph = _fused(_with_cells(graph, names, told), names, told)
    first = {layer.path: next(_homes(layer, names, told), None) for layer in graph}
    table = {path: home for path, home in first.items() if home is not None}
    count = Counter(home for home in table.values() if home)
    apart = {path for path, home in table.items() if count[home] > 1}
    if framework == "keras":  # layers of one that holds them, which is written as they are
        table = {path: home for path, home in table.items() if path not in apart}
        apart = set()
    changed = {old: new for old, new in table.items() if old != new and old not in apart}
    layers = [layer for layer in graph if layer.path in apart]
    return moved(graph, changed | dict(_by_parameter(layers, names, told, framework)))


def _without_added(graph: Graph, names: Provenance, told: Mapping[str, Told]) -> Graph:
    """Take off the constants that the conversion added for a target that has them always; one that
    was trained since stays."""
    layers: list[Layer] = []
    omitted: dict[str, str] = {}
    for layer in graph:
        entries = {p: told[n] for p, t in layer.params.items() for n in _known(t, names, told)}
        added = {p for p, entry in entries.items() if _is_added(layer.params[p], entry)}
        if added and not isinstance(layer, RecurrentLayer):
            rest = {p: tensor for p, tensor in layer.params.items() if p not in added}
            gone = (name for p in added for name in names.names(layer.params[p]))
            omitted |= dict.fromkeys(gone, "restored: added by the conversion")
            layer = replace(layer, params=rest)
        layers.append(layer)
    return replace(graph, layers=tuple(layers), omitted={**graph.omitted, **omitted})


def _is_added(tensor: Tensor, entry: Told) -> bool:
    value = _CONSTANTS.get(entry.operations)
    return not entry.sources and value is not None and bool((tensor.numpy() == value).all())


def _with_cells(graph: Graph, names: Provenance, told: Mapping[str, Told]) -> Graph:
    """Make cells again of the layers that a framework without cells' names made of them."""
    layers: list[Layer] = []
    for layer in graph:
        param = layer.params.get("weight_ih_l0")
        sources = [s for n in _known(param, names, told) for s in told[n].sources]
        if isinstance(layer, RecurrentLayer) and any(s.endswith(".weight_ih") for s in sources):
            params = {name.removesuffix("_l0"): tensor for name, tensor in layer.params.items()}
            kept = {name: v for name, v in layer.attributes.items() if name in _OF_CELLS}
            layer = replace(layer, kind=f"{layer.base}Cell", params=params, attributes=kept)
        layers.append(layer)
    return replace(graph, layers=tuple(layers))


def _fused(graph: Graph, names: Provenance, told: Mapping[str, Told]) -> Graph:
    """Join layers of one level each that were the levels of one layer."""
    stacks: dict[str, dict[int, str]] = {}
    for layer in graph.recurrent:
        if not layer.is_cell and layer.num_layers == 1:
            for home in _levels(layer, names, told):
                stacks.setdefault(home.path, {})[home.level] = layer.path
    for home_path, parts in stacks.items():
        if len(parts) > 1:  # the report says that one feeds the other, whatever the file does
            ordered = [parts[level] for level in sorted(parts)]
            graph = fuse(replace(graph, feeds=None), home_path, ordered)
    return graph


def _known(tensor: Tensor | None, names: Provenance, told: Mapping[str, Told]) -> list[str]:
    """Return the names, in the file, of what a tensor comes from, where the report has them."""
    return [name for name in names.names(tensor) if name in told] if tensor is not None else []


def _levels(layer: RecurrentLayer, names: Provenance, told: Mapping[str, Told]) -> list[_Home]:
    if layer.is_cell:
        return []
    ordered = sorted(layer.cells.items())
    found = (_home(layer, f"weight_ih_l{k}", cell.w_ih, names, told) for (k, _), cell in ordered)
    return list(dict.fromkeys(home for home in found if home is not None))


def _homes(layer: Layer, names: Provenance, told: Mapping[str, Told]) -> Iterator[str]:
    """Yield where a layer comes from; several for one that was put together."""
    found = (_home(layer, name, t, names, told) for name, t in layer.params.items())
    yield from dict.fromkeys(home.path for home in found if home is not None)


def _home(
    layer: Layer, param: str, tensor: Tensor, names: Provenance, told: Mapping[str, Told]
) -> _Home | None:
    """Return the module of the source, and the level there, that a parameter comes from."""
    known = [told[name] for name in _known(tensor, names, told)]
    sources = [source for entry in known for source in entry.sources]
    if not sources:
        return None
    first, path = sources[0], known[0].path
    level = _LEVEL.search(first)
    number = int(level[1]) if level else 0
    if layer.kind == PARAMETER:
        return _Home(first, number)
    if "/" in first:
        scope = first.partition("/")[0]
        return _Home(path if scope == "layers" else scope, number)
    inner = _PARTS.sub("", first.removesuffix(f".{param}"))
    below = all(source.startswith(f"{path}.") for source in sources)
    if below or (not path and inner == first):
        return _Home(path, number)
    return _Home(inner if inner != first else first.rpartition(".")[0], number)


def _by_parameter(
    layers: Iterable[Layer], names: Provenance, told: Mapping[str, Told], framework: str
) -> Iterator[tuple[str, str]]:
    """Yield the entries of a map for modules that were taken apart.

    Raises:
        CkptconvError: a parameter was put together of several, or of a part of one, or stands in
            the source as no map can write it.
    """
    used: set[str] = set()
    for layer in layers:
        for param, tensor in layer.params.items():
            sources = [s for n in _known(tensor, names, told) for s in told[n].sources]
            written = layer.kind == PARAMETER or framework == "torch"
            if len(sources) != 1 or sources[0] in used or not written:
                raise _remade(layer.full_name(param), sources)
            used.add(sources[0])
            yield layer.full_name(param), sources[0]


def _is_changed(entry: Told) -> bool:
    """Tell a bare parameter that the conversion made of parts, of several, or turned."""
    moved = [each for each in entry.operations if not each.startswith(_CAST)]
    return len(entry.sources) > 1 or bool(entry.sources and moved)


def _remade(name: str, sources: Iterable[str]) -> CkptconvError:
    return CkptconvError(
        f"{option('restore')} cannot take back what the conversion put together or took apart",
        tensor=name,
        expected="what was one tensor of the source",
        found=", ".join(sources) or None,
        hint=f"{option('map', 'map.toml')}; with the entries of the map that it was turned round",
    )

"""Names with slashes, in which a layer's name may stand twice, as plain module and parameter.

``enc/sequential/enc/lstm_cell_3/kernel:0`` and ``layers/lstm/cell/vars/0`` of a layer ``enc`` are
its parameters ``cell/kernel`` and ``cell/vars/0``: what stands between says nothing of either.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ckptconv.checkpoint import KerasFacts
from ckptconv.graph.graph import Graph
from ckptconv.graph.lowered import Lowered, Made
from ckptconv.passes.match.written import Lower
from ckptconv.passes.stack import split

_CELL = re.compile(r"\w*_cell(_\d+)?")
_HALF = re.compile(r"(forward|backward)_.*")
_GROUPS = "layers"


def plain(names: Iterable[str], titles: Mapping[str, str]) -> dict[str, str]:
    """Return name → ``module.parameter``; names that would be one keep all they have.

    Args:
        titles: group → name of the layer, where names do not tell it.
    """
    found = {name: short(name, titles) for name in names}
    count = Counter(found.values())
    return {name: new if count[new] == 1 else name for name, new in found.items()}


def plainly(lower: Lower) -> Lower:
    """Return a lowering that gives plain names."""

    def lowered(graph: Graph) -> Lowered:
        found = lower(graph)
        return renamed(found, plain(found.tensors, titles(found.facts)))

    return lowered


def renamed(lowered: Lowered, names: Mapping[str, str]) -> Lowered:
    """Return what was lowered under other names."""
    return replace(
        lowered,
        tensors={names[name]: tensor for name, tensor in lowered.tensors.items()},
        made=tuple(Made(m.layer, tuple(names[name] for name in m.names)) for m in lowered.made),
    )


def by_levels(graph: Graph) -> Graph:
    """Return a graph whose recurrent layers have one level each, ``<path>_l0``, ``<path>_l1``, …"""
    for layer in graph.recurrent:
        if not layer.is_cell and layer.num_layers > 1:
            taken, joint = {other.path for other in graph}, "_l"
            while any(f"{layer.path}{joint}{k}" in taken for k in range(layer.num_layers)):
                joint = f"_{joint}"
            graph = split(graph, layer.path, joint)
    return graph


def titles(facts: object) -> Mapping[str, str]:
    return facts.names if isinstance(facts, KerasFacts) else {}


def short(name: str, titles: Mapping[str, str]) -> str:
    """Return one name as ``module.parameter``, without what versions of Keras put between."""
    parts = name.removesuffix(":0").split("/")
    start = 2 if parts[0] == _GROUPS and len(parts) > 1 else 1
    group = "/".join(parts[:start])
    path = titles.get(group, parts[start - 1])
    rest = parts[start:]
    while path in rest[:-1]:
        rest = rest[rest.index(path) + 1 :]
    rest = [_HALF.sub(r"\1", _CELL.sub("cell", part)) for part in rest]
    return f"{path}.{'/'.join(rest)}"

"""A file whose layers were saved again, in another order or layout, than the report tells.

``layers/dense_1/vars/0`` is the second Dense of whichever order a network was saved in, and
``head/head/kernel:0`` what one version of a layout calls the kernel of ``head``. What a layer is
called stays, so that names of layers tell which tensor of the report is which of the file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ckptconv.checkpoint import Checkpoint, KerasFacts
from ckptconv.graph.graph import Graph

_NUMBERED = re.compile(r"/vars/\d+$")
_COUNTER = re.compile(r"_\d+$")
_LISTED = "MultiheadAttention"
"""Of several groups, which layouts have in different orders."""


class _Place(NamedTuple):
    """The place of a tensor: which one of those of a layer, or of the half of one."""

    layer: str
    backward: bool
    number: int


def as_in(report: Mapping[str, Any], graph: Graph) -> Mapping[str, Any]:
    """Return a report with the names that a file has of the tensors that it tells of."""
    written = [str(tensor["target"]) for layer in report["layers"] for tensor in layer["tensors"]]
    if not all("/" in name for name in written):
        return report
    if any(group_of(name) and name in graph.origin.tensors for name in written):
        names = _by_groups(report, graph.origin, written)
    else:
        before, after = _places_told(report), _places(graph)
        names = {before[p]: after[p] for p in before} if before.keys() <= after.keys() else {}
    return _with_names(report, names) if names else report


def is_numbered(name: str) -> bool:
    """Tell a weight's name in ``.weights.h5``; a layer that is called ``vars`` is none."""
    return bool(_NUMBERED.search(name))


def group_of(name: str) -> str:
    """Return the group of a layer, ``layers/dense_1``; ``""`` where names are the layers' own."""
    return "/".join(name.split("/")[:2]) if is_numbered(name) else ""


def layer_names(path: str, groups: Iterable[str]) -> dict[str, str]:
    """Return group → name of the layers that one of the report became."""
    own, there = path.replace(".", "_"), list(dict.fromkeys(groups))
    names = [own] if len(there) == 1 else [f"{own}_l{k}" for k in range(len(there))]
    return dict(zip(there, names, strict=True))


def _by_groups(
    report: Mapping[str, Any], checkpoint: Checkpoint, written: Iterable[str]
) -> dict[str, str]:
    """Return new names where groups have other numbers; a layer that is called after its class,
    as one without a name is, tells none."""
    facts = checkpoint.facts
    called = facts.names if isinstance(facts, KerasFacts) else {}
    before: dict[str, str] = {}
    for layer in report["layers"]:
        groups = (group_of(str(tensor["target"])) for tensor in layer["tensors"])
        before |= {name: group for group, name in layer_names(str(layer["path"]), groups).items()}
    moved = {
        before[name]: group
        for group, name in called.items()
        if name in before and _COUNTER.sub("", name) != _COUNTER.sub("", group).split("/")[-1]
    }
    if all(old == new for old, new in moved.items()):
        return {}
    moved |= {old: f"{old}, another" for old in {*moved.values()} - moved.keys()}
    return {n: moved.get(group_of(n), group_of(n)) + n[len(group_of(n)) :] for n in written}


def _places_told(report: Mapping[str, Any]) -> dict[_Place, str]:
    found: dict[_Place, str] = {}
    for layer in report["layers"]:
        names = [str(tensor["target"]) for tensor in layer["tensors"]]
        titles = layer_names(str(layer["path"]), map(group_of, names))
        if layer["kind"] != _LISTED:
            found |= _numbered(
                (titles[g] if g else n.split("/")[0], _half(n), n)
                for n in names
                for g in [group_of(n)]
            )
    return found


def _half(name: str) -> bool:
    return any(part.startswith("backward_") for part in name.split("/")[2:-1])


def _places(graph: Graph) -> dict[_Place, str]:
    """Return the places of a file's tensors, each layer's in the order of the file."""
    origin, found = graph.origin.provenance, dict[str, tuple[str, bool]]()
    for layer in graph:
        for param, tensor in layer.params.items() if layer.kind != _LISTED else ():
            place = layer.path.replace(".", "_"), param.endswith("_reverse")
            found |= dict.fromkeys(origin.names(tensor), place)
    return _numbered((*found[name], name) for name in graph.origin.tensors if name in found)


def _numbered(tensors: Iterator[tuple[str, bool, str]]) -> dict[_Place, str]:
    count = Counter[tuple[str, bool]]()
    found: dict[_Place, str] = {}
    for layer, backward, name in tensors:
        found[_Place(layer, backward, count[layer, backward])] = name
        count[layer, backward] += 1
    return found


def _with_names(report: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
    def renamed(entry: Mapping[str, Any]) -> dict[str, Any]:
        name = str(entry["target"])
        return {**entry, "target": names.get(name, name)}

    layers = [
        {**layer, "tensors": [renamed(tensor) for tensor in layer["tensors"]]}
        for layer in report["layers"]
    ]
    return {**report, "layers": layers, "restore": [renamed(x) for x in report["restore"]]}

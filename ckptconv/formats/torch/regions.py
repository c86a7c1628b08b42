"""Regions of an exported program that change no number: their operators stand in their place.

``with torch.no_grad():`` becomes one operator that holds a graph of its own, and so does
``torch.autocast(…, enabled=False)`` (torch/_higher_order_ops/wrap.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_REGIONS = {
    # operator → what is said to it before the graph, that changes no number
    "torch.ops.higher_order.wrap_with_set_grad_enabled": ("enter_grad",),
    "torch.ops.higher_order.wrap_with_autocast": ("device", "dtype", "enabled", "cache"),
}
_DEEPEST = 32
Raw = dict[str, Any]


def flattened(graph: Raw) -> Raw:
    """Return a program's graph without regions, as ``torch/_export/serde/schema.py`` has it.

    Raises:
        ValueError: regions in regions, too many.
        LookupError, TypeError, AttributeError: a damaged graph.
    """
    flat = _Flat(graph)
    nodes = [node for one in graph["nodes"] for node in flat.opened(one, {}, 0)]
    return {**graph, "nodes": nodes, "tensor_values": flat.tensors, "sym_int_values": flat.sizes}


class _Flat:
    """What stands in a graph by name, with what its regions add to it."""

    def __init__(self, graph: Raw) -> None:
        self.tensors = dict(graph["tensor_values"])
        self.sizes = dict(graph.get("sym_int_values") or {})

    def opened(self, node: Raw, names: Mapping[str, Raw], depth: int) -> Iterator[Raw]:
        """Yield a node under other names, or the nodes of the region that it is."""
        told = _REGIONS.get(node["target"])
        node = {**node, **{key: _renamed(node[key], names) for key in ("inputs", "outputs")}}
        if told is None or _given(node, told).get("enabled", {}).get("as_bool"):
            yield node
            return
        if depth == _DEEPEST:
            raise ValueError("too many regions in regions")
        held = [item["arg"] for item in node["inputs"][len(told) :]]
        inner, args = held[0]["as_graph"]["graph"], held[1:]
        inside = self._inside(inner, args)
        for one in inner["nodes"]:
            yield from self.opened(one, inside, depth + 1)
        for given, made in zip(inner["outputs"], node["outputs"], strict=True):
            yield _alias(_renamed(given, inside), made, node["metadata"])

    def _inside(self, inner: Raw, args: list[Raw]) -> dict[str, Raw]:
        """Return what the names of a region stand for; those that it makes are new ones."""
        names = {}
        for own, arg in zip(inner["inputs"], args, strict=True):
            ((kind, said),) = own.items()
            ((_, name),) = said.items()
            names[name] = arg.get(kind, arg)  # a size may be known outside
        for found, known, key in (
            ("tensor_values", self.tensors, "name"),
            ("sym_int_values", self.sizes, "as_name"),
        ):
            for name, value in (inner.get(found) or {}).items():
                if name not in names:
                    unique = name
                    while unique in known:
                        unique += "_"
                    known[unique], names[name] = value, {key: unique}
        return names


def _given(node: Raw, told: tuple[str, ...]) -> dict[str, Any]:
    return {key: item["arg"] for key, item in zip(told, node["inputs"], strict=False)}


def _renamed(item: Any, names: Mapping[str, Raw], key: str = "") -> Any:
    """Return arguments with what names in them stand for; those of parameters stay."""
    if isinstance(item, list):
        return [_renamed(one, names, key) for one in item]
    if not isinstance(item, dict):
        return item
    name = item.get("name" if key in ("as_tensor", "as_tensors") else "as_name")
    if isinstance(name, str) and name in names:
        return names[name]
    return {kind: _renamed(value, names, kind) for kind, value in item.items()}


def _alias(given: Raw, made: Raw, metadata: Any) -> Raw:
    return {
        "target": "torch.ops.aten.alias.default",
        "inputs": [{"name": "self", "arg": given, "kind": 1}],
        "outputs": [made],
        "metadata": metadata,
    }

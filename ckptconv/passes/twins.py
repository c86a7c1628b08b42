"""Layers that stand in a file twice, as one that a module and a list in it both hold."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from ckptconv.checkpoint import ties
from ckptconv.graph.graph import Graph, Layer


def without_twins(graph: Graph, used: Container[str]) -> Graph:
    """Leave out layers that are not used and whose tensors are, each, those of one that is.

    Args:
        used: paths of layers.
    """
    groups = ties(graph.origin.tensors)
    if not groups:
        return graph
    names, first = graph.origin.provenance, {name: g[0] for g in groups for name in g}

    def held(layer: Layer) -> tuple[object, ...]:
        rows = []
        for param, tensor in layer.params.items():
            said = tuple(names.trace(tensor).operations)
            of = tuple(first.get(name, name) for name in names.names(tensor))
            rows.append((param, tensor.shape, said, of))
        return layer.kind, *sorted(rows)

    known = {held(layer): layer.path for layer in graph if layer.path in used}
    twins = {
        layer.path: known[key]
        for layer in graph
        if layer.path not in used and (key := held(layer)) in known
    }
    rules = {
        name: f"the same tensors as those of {twins[layer.path]}, which the network calls"
        for layer in graph
        if layer.path in twins
        for tensor in layer.params.values()
        for name in names.names(tensor)
    }
    layers = tuple(layer for layer in graph if layer.path not in twins)
    return replace(graph, layers=layers, omitted={**graph.omitted, **rules})

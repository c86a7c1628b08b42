"""The order of layers, by which Keras loads them, where the source's file has sorted its names.

safetensors keeps no order: ``10`` stands before ``2`` there, and ``decoder`` before ``encoder``.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import replace

from ckptconv.checkpoint import IndexFacts, SafetensorsFacts
from ckptconv.errors import listed
from ckptconv.graph.graph import Graph, Layer
from ckptconv.spelling import option

_NUMBER = re.compile(r"([0-9]{1,18})")


def in_order(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """Return a graph with numbered layers by their numbers, and what is to say of the others."""
    if not isinstance(graph.origin.facts, SafetensorsFacts | IndexFacts) or graph.home is not None:
        return graph, ()
    names: dict[Hashable, list[str]] = {}
    for name, tensor in graph.origin.tensors.items():
        names.setdefault(tensor.dtype, []).append(name)
    if any(own != sorted(own) for own in names.values()):
        return graph, ()
    ordered = replace(graph, layers=tuple(sorted(graph.layers, key=_by_number)))
    return ordered, tuple(_unknown(ordered))


def _by_number(layer: Layer) -> list[tuple[str, int]]:
    parts = _NUMBER.split(layer.hint_path)
    return [
        (text, int(number)) for text, number in zip(parts[::2], [*parts[1::2], "-1"], strict=True)
    ]


def _unknown(graph: Graph) -> Iterable[str]:
    """Say which layers Keras would load for one another, being alike."""
    alike: dict[Hashable, list[str]] = {}
    for layer in graph:
        shapes = tuple((name, tensor.shape) for name, tensor in layer.params.items())
        alike.setdefault((layer.kind, shapes), []).append(layer.path)
    for paths in alike.values():
        if len({_NUMBER.sub("", path) for path in paths}) > 1:
            told = "alike, and the file, which sorts its names, does not tell their order"
            advice = f"{option('like', 'TARGET')} takes that of what the network itself saved"
            yield f"{listed(paths, 6)}: {told}, by which Keras loads; {advice}"

"""The order of layers, by which Keras loads them: a model's is that of its calls and branches.

torch and MindSpore keep the order in which layers were made, and safetensors none: ``10`` stands
before ``2`` there, and ``decoder`` before ``encoder``.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import replace

from ckptconv.checkpoint import IndexFacts, SafetensorsFacts
from ckptconv.errors import listed
from ckptconv.graph.graph import Graph, Layer
from ckptconv.graph.kinds import PARAMETER
from ckptconv.spelling import option

_NUMBER = re.compile(r"([0-9]{1,18})")
_PLACE = re.compile(r"(?<![^.])[0-9]+(?![^.])")
"""A place in a list, whose items are called in a row; ``embed1`` and ``embed2`` may be branches."""


def in_order(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """Return a graph with layers as a model has them, as far as is known, and what is to say.

    Of a file that has sorted its names numbered layers stand by their numbers.
    """
    if graph.home is not None:
        return graph, ()
    if not _is_sorted(graph):
        unsaid = "has layers as they were made"
        return graph, tuple(_unknown(graph, unsaid)) if graph.dialect != "keras" else ()
    ordered = replace(graph, layers=tuple(sorted(graph.layers, key=_by_number)))
    return ordered, tuple(_unknown(ordered, "sorts its names"))


def _is_sorted(graph: Graph) -> bool:
    if not isinstance(graph.origin.facts, SafetensorsFacts | IndexFacts):
        return False
    names: dict[Hashable, list[str]] = {}
    for name, tensor in graph.origin.tensors.items():
        names.setdefault(tensor.dtype, []).append(name)
    return all(own == sorted(own) for own in names.values())


def _by_number(layer: Layer) -> list[tuple[str, int]]:
    parts = _NUMBER.split(layer.hint_path)
    return [
        (text, int(number)) for text, number in zip(parts[::2], [*parts[1::2], "-1"], strict=True)
    ]


def _unknown(graph: Graph, why: str) -> Iterable[str]:
    """Say which layers Keras would load for one another, being alike, and what it has none for."""
    alike: dict[Hashable, list[str]] = {}
    loose = [layer.path for layer in graph if layer.kind == PARAMETER]
    for layer in (layer for layer in graph if layer.kind != PARAMETER):
        shapes = tuple((name, tensor.shape) for name, tensor in layer.params.items())
        alike.setdefault((layer.kind, shapes), []).append(layer.path)
    for paths in alike.values():
        if len({_PLACE.sub("", path) for path in paths}) > 1:
            told = f"alike, and the file, which {why}, does not tell their order"
            advice = f"{option('like', 'TARGET')} takes that of what the network itself saved"
            yield f"{listed(paths, 6)}: {told}, by which Keras loads; {advice}"
    if loose:
        others = "by_name=True loads the others, called by their paths with _ for every dot"
        yield f"{listed(loose, 6)}: Keras has no layer for it; without one of your own {others}"

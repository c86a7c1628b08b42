"""What an exported program holds beside its weights: constants, and buffers of no state_dict."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace

from ckptconv.checkpoint import Checkpoint, TorchFacts
from ckptconv.graph.graph import Graph, Layer
from ckptconv.graph.kinds import PARAMETER
from ckptconv.tensors.tensor import Tensor

_EVIDENCE = "the program, whose constant it is"


def constants(checkpoint: Checkpoint) -> Mapping[str, Tensor]:
    """Return the constants of a checkpoint's program, which are none of its tensors."""
    facts = checkpoint.facts
    held = facts.constants if isinstance(facts, TorchFacts) else {}
    return {name: tensor for name, tensor in held.items() if name not in checkpoint.tensors}


def as_layer(name: str, tensor: Tensor) -> Layer:
    """Return a constant as a parameter of its own; torch calls such a buffer not persistent."""
    return Layer(name, PARAMETER, {"": tensor}, {"persistent": False}, evidence=_EVIDENCE)


def with_constants(graph: Graph, names: Container[str]) -> Graph:
    """Return the graph with those constants of its program that are named, as its last layers."""
    added = {n: tensor for n, tensor in constants(graph.origin).items() if n in names}
    if not added:
        return graph
    return replace(
        graph,
        layers=(*graph.layers, *(as_layer(*item) for item in added.items())),
        origin=replace(graph.origin, tensors={**graph.origin.tensors, **added}),
        omitted={name: rule for name, rule in graph.omitted.items() if name not in added},
    )

"""Orders of the calls of a functional model: one that runs, and Keras 3's own, which masks show.

MultiHeadAttention takes the masks of its inputs away, for whatever runs after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from ckptconv.dialects.keras.model_config import Entry

Node = tuple[str, int]
"""A layer's name, and the number of its call."""

_HEEDLESS = {"InputLayer", "Activation", "BatchNormalization", "Dense", "Dropout", "ELU", "Flatten",
             "LayerNormalization", "LeakyReLU", "ReLU", "Reshape"}  # fmt: skip


def is_heedless(layer: Entry) -> bool:
    """Tell whether a model computes the same whether its input has a mask or not."""
    return layer.is_model and all(inner.class_name in _HEEDLESS for inner in layer.layers())


def takes_masks_away(layers: Iterable[Entry]) -> bool:
    """Tell whether what a layer finds depends on which others have run before it."""
    return any(
        layer.class_name == "MultiHeadAttention" or takes_masks_away(layer.layers())
        for layer in layers
    )


def ordered(parents: Mapping[Node, Sequence[Node]]) -> list[Node]:
    """Return calls so that each stands behind those whose outputs it takes, else as they are.

    It is the order of passes through the list, each of which takes what can run by then.

    Raises:
        ValueError: nothing gives what a call takes, or it takes what it gives.
    """
    places = {node: place for place, node in enumerate(parents)}
    passes: dict[Node, int] = {}
    for node in _sorted(parents):
        if node not in places:
            raise ValueError(f"nothing gives what is taken of {node[0]!r}")
        before = (passes[parent] + (places[parent] > places[node]) for parent in parents[node])
        passes[node] = max(before, default=0)
    return sorted(passes, key=lambda node: (passes[node], places[node]))


def _sorted(parents: Mapping[Node, Sequence[Node]]) -> Iterator[Node]:
    try:
        yield from TopologicalSorter(parents).static_order()
    except CycleError as error:
        raise ValueError(f"{error.args[1][0][0]!r} takes what is made of it") from None


def executed(parents: Mapping[Node, Sequence[Node]], outputs: Iterable[Node]) -> list[Node]:
    """Return calls as Keras runs them: by how far they are from the outputs, the farthest first.

    Args:
        parents: node → the nodes whose outputs it takes, in their order; of no cycles.
        outputs: the nodes that the model's outputs are of; what none of them needs stands last.
    """
    depths: dict[Node, int] = {}
    of_layers: dict[str, int] = {}
    for node in reversed(_depth_first(parents, outputs)):
        depth = max(depths.get(node, 0), of_layers.get(node[0], 0))
        depths[node] = of_layers[node[0]] = depth
        for parent in parents[node]:
            depths[parent] = max(depth + 1, depths.get(parent, 0))
    needed = sorted(depths, key=lambda node: -depths[node])
    return [*needed, *(node for node in parents if node not in depths)]


def _depth_first(parents: Mapping[Node, Sequence[Node]], outputs: Iterable[Node]) -> list[Node]:
    finished: dict[Node, None] = {}
    for output in outputs:
        waiting = [(output, iter(parents[output]))]
        while waiting:
            node, rest = waiting[-1]
            after = next((parent for parent in rest if parent not in finished), None)
            if after is None:
                finished.setdefault(node)
                waiting.pop()
            else:
                waiting.append((after, iter(parents[after])))
    return list(finished)

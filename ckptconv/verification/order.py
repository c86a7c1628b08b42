"""Layers of equal structure that stand in another order than the source's, by name.

Shapes cannot tell such layers apart, and every weight may be there: a network then computes
something else although nothing is lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence

from ckptconv.graph.graph import Graph
from ckptconv.tensors.tensor import FilledTensor
from ckptconv.verification.pairing import Block, Part
from ckptconv.verification.results.layers import LayerResult


def say_order(found: Sequence[Block], results: Sequence[LayerResult], target: Graph) -> list[str]:
    """Return remarks on layers in another order, and say so where weights differ for that.

    Layers whose weights differ are held against each other's values: where one stands in the place
    of another, the result's cause says which.
    """
    places = {layer.path: place for place, layer in enumerate(target)}
    groups: dict[Hashable, list[tuple[Block, LayerResult]]] = {}
    for block, result in zip(found, results, strict=True):
        key = (block.layer.kind, tuple(one.signature for one, _ in block.parts))
        groups.setdefault(key, []).append((block, result))
    notes: list[str] = []
    for group in groups.values():
        differing = [entry for entry in group if entry[1].weights == "differ"]
        if len(differing) > 1:
            _exchanged(differing)
        elif len(group) > 1 and not differing:
            notes += _moved([block for block, _ in group], places)
    return notes


def _exchanged(differing: list[tuple[Block, LayerResult]]) -> None:
    """Look for the values of each source layer in the place of another."""
    holders = {_digest([one for one, _ in block.parts]): block for block, _ in differing}
    for block, result in differing:
        other = holders.get(_digest([other for _, other in block.parts]))
        if other is not None and other is not block:
            result.cause = _stands(other, block, _path(block))


def _moved(group: list[Block], places: Mapping[str, int]) -> list[str]:
    """Compare the order of a group in the source with that of its counterparts in the target."""
    here = sorted(group, key=lambda block: places[block.parts[0][1].layer.path])
    return [
        _stands(block, meant, _path(block))
        for meant, block in zip(group, here, strict=True)
        if meant is not block
    ]


def _stands(block: Block, meant: Block, place: str) -> str:
    return (
        f"the same weights, but {block.layer.path or '(root)'} stands where "
        f"{meant.layer.path or '(root)'} did ({place})"
    )


def _path(block: Block) -> str:
    return block.parts[0][1].layer.path or "(root)"


def _digest(parts: Sequence[Part]) -> bytes:
    """Return a digest of all values that the source's file and the target's both hold."""
    state = hashlib.sha256()
    for part in parts:
        for name, tensor in sorted(part.params.items()):
            if not isinstance(tensor, FilledTensor) and tensor.shape:
                state.update(f"{name} {tensor.shape} {tensor.dtype}".encode())
                for values in tensor.blocks():
                    state.update(values.tobytes())
    return state.digest()

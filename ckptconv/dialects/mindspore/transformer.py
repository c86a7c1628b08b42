"""Transformer layers: what torch calls linear1 and linear2 is dense1 and dense2 in MindSpore.

Such a layer is told by all that it holds: self_attn, the two matrices, norm1 and norm2, as
``torch.nn`` and ``mindspore.nn`` call them in TransformerEncoderLayer and TransformerDecoderLayer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ckptconv.graph.graph import Layer

_BESIDE = ("self_attn", "norm1", "norm2")


def with_dense_names(layers: Iterable[Layer]) -> list[Layer]:
    """Return layers under MindSpore's names."""
    return _renamed(layers, "linear", "dense")


def with_linear_names(layers: Iterable[Layer]) -> list[Layer]:
    """Return layers under torch's names."""
    return _renamed(layers, "dense", "linear")


def _renamed(layers: Iterable[Layer], old: str, new: str) -> list[Layer]:
    layers = list(layers)
    paths = {layer.path for layer in layers}
    result = []
    for layer in layers:
        parent, dot, name = layer.path.rpartition(".")
        inside = f"{parent}{dot}"
        beside = (*_BESIDE, f"{old}1", f"{old}2")
        if name in (f"{old}1", f"{old}2") and all(f"{inside}{other}" in paths for other in beside):
            note = f"called {new}{name[-1]} as in the target's Transformer layers"
            path = f"{inside}{new}{name[-1]}"
            layer = replace(layer, path=path, notes=(*layer.notes, note))
        result.append(layer)
    return result

"""Transformer layers: what torch calls linear1 and linear2 is dense1 and dense2 in MindSpore.

Such a layer is told by all that it holds, and by its sizes: self_attn, norm1 and norm2 of its
features, and two matrices that go from these to others and back, as ``torch.nn`` and
``mindspore.nn`` call them in TransformerEncoderLayer and TransformerDecoderLayer. A file that names
another class for it has a class of the user's own, whose names stay. Its norms have another
default than ``mindspore.nn.LayerNorm``, and so have the last norms of ``mindspore.nn.Transformer``,
an encoder and a decoder beside each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ckptconv.checkpoint import Module
from ckptconv.graph.graph import Graph, Layer

_CLASSES = (None, "TransformerEncoderLayer", "TransformerDecoderLayer")
_NORMS = ("norm1", "norm2")
_STACKS = ("encoder", "decoder")
_EPSILON = {"eps": 1e-5}
"""``layer_norm_eps`` of mindspore.nn's layers and of Transformer, where the file says none."""


def with_dense_names(graph: Graph) -> list[Layer]:
    """Return layers under MindSpore's names."""
    return _renamed(graph, "linear", "dense", graph.origin.modules)


def with_linear_names(layers: Iterable[Layer]) -> list[Layer]:
    """Return layers under torch's names, with what is assumed of their norms."""
    layers = list(layers)
    by_path = {layer.path: layer for layer in layers}
    return [_as_inside(layer, by_path) for layer in _renamed(layers, "dense", "linear", {})]


def _as_inside(layer: Layer, by_path: Mapping[str, Layer]) -> Layer:
    if layer.kind != "LayerNorm" or "eps" in layer.attributes:
        return layer
    inside, _, name = layer.path.rpartition(".")
    inside += "." if inside else ""
    known = name in (*_NORMS, "norm3") and _is_transformer(inside, "dense", by_path)
    if not known and not (name == "norm" and _is_stack(inside, by_path)):
        return layer
    attributes, assumed = ({**told, **_EPSILON} for told in (layer.attributes, layer.assumed))
    return replace(layer, attributes=attributes, assumed=assumed)


def _is_stack(inside: str, layers: Mapping[str, Layer]) -> bool:
    """Tell whether this is one of the two stacks of a Transformer: a stack that stands alone was
    given its norm by the user."""
    above, _, stack = inside.removesuffix(".").rpartition(".")
    above += "." if above else ""
    return stack in _STACKS and all(
        f"{above}{name}.norm" in layers
        and _is_transformer(f"{above}{name}.layers.0.", "dense", layers)
        for name in _STACKS
    )


def _renamed(
    layers: Iterable[Layer], old: str, new: str, modules: Mapping[str, Module]
) -> list[Layer]:
    layers = list(layers)
    by_path = {layer.path: layer for layer in layers}
    result = []
    for layer in layers:
        parent, dot, name = layer.path.rpartition(".")
        known = modules.get(parent, Module()).class_name in _CLASSES
        matrix = known and name in (f"{old}1", f"{old}2")
        if matrix and _is_transformer(f"{parent}{dot}", old, by_path):
            note = f"called {new}{name[-1]} as in the target's Transformer layers"
            path = f"{parent}{dot}{new}{name[-1]}"
            layer = replace(layer, path=path, notes=(*layer.notes, note))
        result.append(layer)
    return result


def _is_transformer(inside: str, old: str, layers: Mapping[str, Layer]) -> bool:
    attention, first, second, *norms = (
        layers.get(inside + name) for name in ("self_attn", f"{old}1", f"{old}2", *_NORMS)
    )
    if attention is None or attention.kind != "MultiheadAttention":
        return False
    size = attention.params["out_proj.weight"].shape[:1]
    matrices = [m.params["weight"].shape for m in (first, second) if m and m.kind == "Linear"]
    if len(matrices) != 2 or matrices[0][1:] != size or matrices[1] != matrices[0][::-1]:
        return False
    return all(
        norm is not None
        and "LayerNorm" in (norm.kind, *norm.candidates)
        and norm.params["weight"].shape == size
        for norm in norms
    )

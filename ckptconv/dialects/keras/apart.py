"""Layers for a network that is written too: no setting of a recurrent layer's is refused.

What a layer computes stands in the network, which has cells of its own for what no layer of the
target can hold; here only weights are brought into the canonical convention. The halves of a
Bidirectional that differ become two layers, ``<path>.forward_layer`` and ``.backward_layer``, and
a MultiHeadAttention four, which torch's layer would hold in one for some sizes alone; a separable
convolution and a ConvLSTM are two convolutions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ckptconv.dialects.evidence import Evidence
from ckptconv.dialects.keras.attention import is_attention, lift_projections
from ckptconv.dialects.keras.convolution_pairs import is_pair, lift_pair
from ckptconv.dialects.keras.grouping import HALVES, Group, Unit, incomplete
from ckptconv.dialects.keras.recurrent import is_recurrent, lift_cell
from ckptconv.dialects.keras.settings import settings
from ckptconv.dialects.recurrent import lift_recurrent
from ckptconv.graph.graph import Cell, Layer, cell_params
from ckptconv.graph.kinds import PARAMETER
from ckptconv.options import ReadOptions
from ckptconv.tensors.tensor import Tensor

_ADAPTED = ("mean", "variance", "count")
"""A Normalization's weights, in Keras's order."""
_NAMELESS = re.compile(r"variable(_\d+)?")
"""What Keras calls a weight that its layer gives no name."""
_COMPUTING = ("activation", "recurrent_activation", "inner_activation", "reset_after")


def lift_apart(group: Group, options: ReadOptions) -> list[Layer]:
    """Return the layers that a layer's weights become here; none: as without a network.

    Raises:
        DialectError: weights that are not the layer's, or half of a Bidirectional alone.
    """
    if all(map(is_pair, group)):
        return _pairs(group)
    if any(map(is_recurrent, group)):
        return _sequence(group, options)
    if is_attention(group):
        return lift_projections(group)
    names = _names(group[0]) if group.entry else []
    return _parameters(group[0], _named(group[0], names), counted(group)) if names else []


def _pairs(group: Group) -> list[Layer]:
    """Return the convolutions of a layer, or of the two halves of a Bidirectional."""
    if len(group) == 1:
        return lift_pair(group[0])
    if {unit.half for unit in group} != {0, 1} or len(group) > 2:
        raise incomplete(group)
    paths = {unit.half: f"{unit.path}.{HALVES[unit.half or 0]}" for unit in group}
    return [layer for unit in group for layer in lift_pair(replace(unit, path=paths[unit.half]))]


def _sequence(group: Group, options: ReadOptions) -> list[Layer]:
    """Return a recurrent layer, or those of the two halves of a Bidirectional."""
    halves = sorted(group, key=lambda unit: unit.half or 0)
    if len(halves) > 2:
        raise incomplete(group)
    lifted = [lift_cell(unit, options, any_gru=True)[1] for unit in halves]
    whole = halves[0].half is None or halves[0].stacked
    if whole or (len(halves) == 2 and _are_alike(halves, lifted)):
        return [_layer(group.path, lifted, options)]
    # Of a half alone, the other is several cells.
    return [
        _layer(f"{group.path}.{HALVES[unit.half or 0]}", [cell], options)
        for unit, cell in zip(halves, lifted, strict=True)
    ]


def _names(unit: Unit) -> list[str]:
    """Return Keras's names of weights that stand in the network by themselves."""
    name, said = unit.entry.class_name if unit.entry else "", settings(unit)
    if name == "PReLU":
        rank = next(iter(unit.leaves.values())).ndim
        return [] if sorted(said.get("shared_axes") or []) == [*range(1, rank)] else ["alpha"]
    if name == "Normalization":
        return list(_ADAPTED)
    if name == "LayerScale" and {"init_values", "projection_dim"} <= {*said}:
        return ["gamma"]
    if name == "EinsumDense":
        return ["kernel", "bias"] if said.get("bias_axes") else ["kernel"]
    scaled = said.get("use_scale", name == "AdditiveAttention") is True
    if name in ("Attention", "AdditiveAttention"):
        found = ["scale"] if scaled else []
        return [*found, "concat_score_weight"] if said.get("score_mode") == "concat" else found
    return []


def _named(unit: Unit, names: Sequence[str]) -> Mapping[str, Tensor]:
    """Return the leaves by Keras's names, where the file only numbers them."""
    leaves = {leaf.rpartition("/")[2]: tensor for leaf, tensor in unit.leaves.items()}
    if {*leaves} == {str(i) for i in range(len(names))}:
        return {names[int(leaf)]: tensor for leaf, tensor in leaves.items()}
    if len(names) == len(leaves) == 1 and all(map(_NAMELESS.fullmatch, leaves)):
        return dict(zip(names, leaves.values(), strict=True))
    return leaves


def counted(group: Group) -> Tensor | None:
    """Return how many numbers a Normalization was adapted to, where the group is one."""
    known = group.entry is not None and group.entry.class_name == "Normalization"
    return _named(group[0], _ADAPTED).get(_ADAPTED[-1]) if known else None


def _parameters(unit: Unit, leaves: Mapping[str, Tensor], unused: Tensor | None) -> list[Layer]:
    return [
        Layer(f"{unit.path}.{leaf}", PARAMETER, {"": tensor}, evidence="model_config")
        for leaf, tensor in leaves.items()
        if tensor is not unused
    ]


def _layer(path: str, cells: list[Cell], options: ReadOptions) -> Layer:
    params = {
        name: tensor
        for direction, cell in enumerate(cells)
        for name, tensor in cell_params(cell, 0, direction).items()
    }
    return replace(lift_recurrent(Evidence(path, params, options.kinds)), gates_known=True)


def _are_alike(halves: list[Unit], cells: list[Cell]) -> bool:
    shapes = [[part and part.shape for part in cell] for cell in cells]
    return shapes[0] == shapes[1] and _computes(halves[0]) == _computes(halves[1])


def _computes(unit: Unit) -> Mapping[str, Any]:
    said = settings(unit)
    return {key: said.get(key) for key in _COMPUTING}

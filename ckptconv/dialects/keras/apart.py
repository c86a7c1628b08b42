"""Layers for a network that is written too: no setting of a recurrent layer's is refused.

What a layer computes stands in the network, which has cells of its own for what no layer of the
target can hold; here only weights are brought into the canonical convention. The halves of a
Bidirectional that differ become two layers, ``<path>.forward_layer`` and ``.backward_layer``, and
a MultiHeadAttention four, which torch's layer would hold in one for some sizes alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ckptconv.dialects.evidence import Evidence
from ckptconv.dialects.keras.attention import is_attention, lift_projections
from ckptconv.dialects.keras.grouping import Unit
from ckptconv.dialects.keras.recurrent import is_recurrent, lift_cell
from ckptconv.dialects.keras.settings import settings
from ckptconv.dialects.recurrent import lift_recurrent
from ckptconv.errors import DialectError
from ckptconv.graph.graph import Cell, Layer, cell_params
from ckptconv.graph.kinds import PARAMETER
from ckptconv.options import ReadOptions

_COMPUTING = ("activation", "recurrent_activation", "inner_activation", "reset_after")


_SCALED = ("Attention", "AdditiveAttention")


def lift_apart(path: str, group: list[Unit], options: ReadOptions) -> list[Layer]:
    """Return the layers that a layer's weights become here; none: as without a network.

    Raises:
        DialectError: weights that are not the layer's, or half of a Bidirectional alone.
    """
    entry = group[0].entry
    if any(map(is_recurrent, group)):
        return _sequence(path, group, options)
    if is_attention(group):
        return lift_projections(path, group)
    return _scales(path, group[0]) if entry and entry.class_name in _SCALED else []


def _sequence(path: str, group: list[Unit], options: ReadOptions) -> list[Layer]:
    """Return a recurrent layer, or those of the two halves of a Bidirectional."""
    halves = sorted(group, key=lambda unit: unit.half or 0)
    if len(halves) > 2:
        raise DialectError(
            "an incomplete Bidirectional",
            tensor=path,
            expected="a forward and a backward layer, or one layer",
            found=", ".join(unit.first for unit in group),
        )
    lifted = [lift_cell(unit, options, any_gru=True)[1] for unit in halves]
    if len(halves) == 1 or _are_alike(halves, lifted):
        return [_layer(path, lifted, options)]
    names = ("forward_layer", "backward_layer")
    return [
        _layer(f"{path}.{name}", [cell], options) for name, cell in zip(names, lifted, strict=True)
    ]


def _scales(path: str, unit: Unit) -> list[Layer]:
    """Return the scales of Attention or AdditiveAttention, under Keras's names."""
    names = ["concat_score_weight"] if settings(unit).get("score_mode") == "concat" else []
    if settings(unit).get("use_scale", True) is True:
        names.insert(0, "scale")
    leaves = {leaf.rpartition("/")[2]: tensor for leaf, tensor in unit.leaves.items()}
    if {*leaves} == {str(i) for i in range(len(names))}:
        leaves = {names[int(leaf)]: tensor for leaf, tensor in leaves.items()}
    return [
        Layer(f"{path}.{leaf}", PARAMETER, {"": tensor}, evidence="model_config")
        for leaf, tensor in leaves.items()
    ]


def _layer(path: str, cells: list[Cell], options: ReadOptions) -> Layer:
    params = {
        name: tensor
        for direction, cell in enumerate(cells)
        for name, tensor in cell_params(cell, 0, direction).items()
    }
    return lift_recurrent(path, params, Evidence(options.kinds))


def _are_alike(halves: list[Unit], cells: list[Cell]) -> bool:
    shapes = [[part and part.shape for part in cell] for cell in cells]
    return shapes[0] == shapes[1] and _computes(halves[0]) == _computes(halves[1])


def _computes(unit: Unit) -> Mapping[str, Any]:
    said = settings(unit)
    return {key: said.get(key) for key in _COMPUTING}

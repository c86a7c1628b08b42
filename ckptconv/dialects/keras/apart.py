"""Recurrent layers for a network that is written too: no setting of theirs is refused.

What a layer computes stands in the network, which has cells of its own for what no layer of the
target can hold; here only weights are brought into the canonical convention. The halves of a
Bidirectional that differ become two layers, ``<path>.forward_layer`` and ``.backward_layer``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ckptconv.dialects.evidence import Evidence
from ckptconv.dialects.keras.grouping import Unit
from ckptconv.dialects.keras.recurrent import lift_cell
from ckptconv.dialects.keras.settings import settings
from ckptconv.dialects.recurrent import lift_recurrent
from ckptconv.errors import DialectError
from ckptconv.graph.graph import Cell, Layer, cell_params
from ckptconv.options import ReadOptions

_COMPUTING = ("activation", "recurrent_activation", "inner_activation", "reset_after")


def lift_apart(path: str, group: list[Unit], options: ReadOptions) -> list[Layer]:
    """Return the layers of a unit, or of the two halves of a Bidirectional.

    Raises:
        DialectError: weights that are no recurrent layer's, or one half alone.
    """
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

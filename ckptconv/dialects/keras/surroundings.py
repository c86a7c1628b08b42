"""What the place of a layer in its model asks of who builds it: wrappers, and what it is given."""

from __future__ import annotations

from dataclasses import replace

from ckptconv.dialects.keras.grouping import Unit
from ckptconv.dialects.keras.joints import Joints
from ckptconv.graph.graph import Layer
from ckptconv.graph.kinds import PARAMETER

_ANY_AXES = ("Linear", "LayerNorm", "RMSNorm", "Embedding", PARAMETER)
"""Kinds that take whatever axes stand before their own."""
_FOLD = "TimeDistributed: fold the time axis into the batch before this layer, and unfold it after"


def remarked(layers: list[Layer], unit: Unit, joined: Joints) -> list[Layer]:
    """Add to the layers of a unit what its surroundings ask."""
    if unit.part is None or not layers:
        return layers
    first, *rest = layers
    notes = []
    if unit.part.wrapper("TimeDistributed") and first.kind not in _ANY_AXES:
        notes.append(_FOLD)
    if given := joined.given.get(unit.part.path):
        notes.append(f"called with {', '.join(given)} in the source: give it here too")
    return [replace(first, notes=(*first.notes, *notes)), *rest]

"""What the place of a layer in its model asks of who builds it: wrappers, and what it is given."""

from __future__ import annotations

from dataclasses import replace

from ckptconv.dialects.keras.grouping import Unit
from ckptconv.dialects.keras.joints import Joints
from ckptconv.dialects.keras.settings import LENGTHS
from ckptconv.errors import listed
from ckptconv.graph.graph import Layer
from ckptconv.graph.kinds import PARAMETER

_ANY_AXES = ("Linear", "LayerNorm", "RMSNorm", "Embedding", PARAMETER)
"""Kinds that take whatever axes stand before their own."""
_FOLD = "TimeDistributed: fold the time axis into the batch before this layer, and unfold it after"
_MOST = 4


def of_model(joined: Joints, *, apart: bool) -> list[str]:
    """Return what to know of layers without weights, and of calls that train.

    Args:
        apart: a network is written too, which tells of the calls itself.
    """
    masking, training = joined.masking, [] if apart else [*dict.fromkeys(joined.training)]
    notes = [f"{listed(masking, _MOST)}: Masking: {LENGTHS}"] if masking else []
    if training:
        notes.append(
            f"{listed(training, _MOST)}: called with training=True in the source, which Keras 3 "
            "passes over in predict, and Keras before it does not: the target needs its training "
            "mode for what is dropped, or normed by the batch, to be so"
        )
    return notes


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

"""What a Keras file's names are grouped into: the weights of one layer, cell or half of a layer.

``keras_legacy`` and ``keras_groups`` do it for the two layouts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ckptconv.dialects.keras.model_config import Entry
from ckptconv.tensors.tensor import Tensor

COUNTER = re.compile(r"_\d+$")
ATTENTION = {
    "query_dense": "query",
    "key_dense": "key",
    "value_dense": "value",
    "output_dense": "attention_output",
}
"""MultiHeadAttention's attributes, which name groups, → its layers, which name scopes."""

Scope = tuple[str, ...]


@dataclass
class Unit:
    """The weights of one layer, cell, or half of a Bidirectional.

    Attributes:
        path: dotted; of the Bidirectional for its halves.
        leaves: Keras's name of the weight (or its number, in ``.weights.h5``) → values.
        first: the name of the first weight in the file, for errors.
        word: what the file calls its class, in snake case without counter, or ``""``.
        half: 0 forward, 1 backward, None where it is not half of a Bidirectional.
        in_cell: the group says that a recurrent layer holds it as its cell.
        entry: the class and settings of the layer, where the file has them.
        wrapper: the same of the Bidirectional or RNN around it.
    """

    path: str
    first: str
    leaves: dict[str, Tensor] = field(default_factory=dict)
    word: str = ""
    half: int | None = None
    in_cell: bool = False
    keras1: bool = False
    entry: Entry | None = None
    wrapper: Entry | None = None


def describe(unit: Unit, scope: Scope, known: Entry | None) -> None:
    """Find the settings of a unit in the configuration of its layer."""
    while known is not None and known.layers():
        inner = {layer.name: layer for layer in known.layers()}
        known = next((inner[part] for part in scope if part in inner), None) or next(
            (inner[p] for p in (COUNTER.sub("", part) for part in scope) if p in inner), None
        )
    if known is None:
        return
    if unit.half is not None:
        unit.wrapper = known
        known = (unit.half and known.inner("backward_layer")) or known.inner("layer")
    elif known.class_name == "TimeDistributed":
        known = known.inner("layer")
    if known is not None and known.class_name == "RNN":
        unit.wrapper, unit.in_cell = unit.wrapper or known, True
        known = known.inner("cell")
        if known is not None and known.class_name == "StackedRNNCells":
            known = _stacked(known.cells(), scope)
    unit.entry = known


def _stacked(cells: list[Entry], scope: Scope) -> Entry | None:
    named = next((cell for cell in cells if cell.name and cell.name in scope), None)
    match = re.fullmatch(r"cell_(\d+)", scope[-1]) if scope else None
    index = int(match[1]) if match else 0
    return named or (cells[index] if index < len(cells) else None)

"""What weights alone do not say of a Keras layer, and what is therefore assumed of it.

A file without a configuration, and what a layer of the user's own holds, tell shapes and names of
groups: no class, no option. Each setting here changes what a layer computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ckptconv.graph.graph import Layer
from ckptconv.graph.kinds import without_rank

_STEPS = {"go_backwards": False, "return_sequences": True}
_ACTIVE = {"activation": "linear"}
_PLAIN: Mapping[str, Mapping[str, Any]] = {
    # kind without its rank → Keras's setting → what is assumed, its default
    "Linear": _ACTIVE,
    "Conv": {**_ACTIVE, "data_format": "channels_last"},
    "DepthwiseConv": {**_ACTIVE, "data_format": "channels_last"},
    "ConvTranspose": {**_ACTIVE, "data_format": "channels_last"},
    "LayerNorm": {"rms_scaling": False},
    "GroupNorm": {"axis": -1},
    "BatchNorm": {"axis": -1},
    "MultiheadAttention": {"attention_axes": None, "use_gate": False, "dropout": 0.0},
}


def assumed_of_sequence(layer: Layer, paired: bool, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return setting → what is assumed of a recurrent layer or cell.

    Args:
        paired: two groups of weights are taken for the halves of a Bidirectional.
        known: what the user says.
    """
    base, cell = layer.kind.removesuffix("Cell"), layer.kind.endswith("Cell")
    name = {"RNN": "SimpleRNN"}.get(base, base) + ("Cell" if cell else "")
    found: dict[str, Any] = {"class": f"Bidirectional({name})" if paired else name}
    found |= {"activation": "tanh"} if base != "RNN" else {}
    found |= {"recurrent_activation": "sigmoid"} if base != "RNN" else {}
    found |= {} if cell else _STEPS
    found |= {"merge_mode": "concat"} if paired else {}
    return {key: value for key, value in found.items() if key not in known}


def assumed_of_plain(kind: str, class_name: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return setting → what is assumed of another layer, ``class`` first."""
    found = {"class": class_name, **_PLAIN.get(without_rank(kind), {})}
    return {key: value for key, value in found.items() if key not in known}

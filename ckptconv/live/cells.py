"""What MindSpore's cells record of themselves, under torch's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAMES = {"epsilon": "eps", "group": "groups"}
_FLAT = ("Conv1d", "Conv1dTranspose")
"""What is computed as a layer of two axes, the first of which is 1."""
_PER_AXIS = ("kernel_size", "stride", "dilation", "padding")
_INSIDE = {"_DynamicRNNRelu": {"nonlinearity": "relu"}, "_DynamicRNNTanh": {"nonlinearity": "tanh"}}
"""Classes of cells inside of others → what they tell."""


def settings(cell: Any, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a cell of ``mindspore.nn`` records as torch's module would.

    Args:
        recorded: its own attributes.
    """
    found = {_NAMES.get(name, name): value for name, value in recorded.items()}
    for name, part in getattr(cell, "_cells", {}).items():
        found |= _INSIDE.get(type(part).__name__, {})
        if name == "bn2d":  # of a BatchNorm3d, which records nothing itself
            found["eps"] = part.eps
        if name == "activation" and part is not None:
            found["activation"] = type(part).__name__
    if "pad_mode" in found:
        found["padding"] = _padding(found["pad_mode"], found["padding"])
    flat = type(cell).__name__ in _FLAT
    return found | {name: _last(found[name]) for name in _PER_AXIS if flat and name in found}


def _padding(mode: str, said: int | tuple[int, ...]) -> Any:
    """Return torch's word or numbers; sides that differ stay as they are, as torch has none."""
    if mode != "pad" or isinstance(said, int):
        return {"same": "same", "valid": 0}.get(mode, said)
    before, behind = said[::2], said[1::2]
    return before if before == behind else said


def _last(value: Any) -> Any:
    return value[-1:] if isinstance(value, tuple) else value

"""Packed weights: tensors inside tuples and inside the state of a ``torch.ScriptObject``.

Quantized modules keep ``(weight, bias)`` tuples and objects of C++ classes, whose pickled state is
``(data, class name)``; TorchScript names the class in the pickle and the state is the data. A
tensor inside is named by where it stands: ``fc._packed_params.0`` is the weight of a packed Linear,
``….1`` its bias; a packed recurrent cell's data is ``(kind, biases, scales, zero points, [packed
input weights, packed hidden weights])``, so ``….4.0.0`` is its weight for the input, ``….4.1.0``
the one for the state, and ``….1.0`` and ``….1.1`` are its biases.
"""

from __future__ import annotations

from typing import Any

from ckptconv.codecs.pickle.objects import Instance
from ckptconv.formats.torch.tensors import is_tensor

_OBJECT = "torch.ScriptObject"
_PREFIX, _SCRIPTED = "__torch__.", "__torch__.torch.classes."
_MAX_DEPTH, _MAX_ITEMS = 8, 512


def is_packed(value: object) -> bool:
    """Tell whether tensors may stand inside, named by their place."""
    return isinstance(value, tuple) or _data(value) is not None


def unpacked(name: str, value: object) -> dict[str, Any]:
    """Return dotted name → pickled tensor of each tensor inside, in order."""
    found: dict[str, Any] = {}
    stack: list[tuple[str, Any, int]] = [(name, value, 0)]
    visited = 0
    while stack:
        where, item, depth = stack.pop()
        visited += 1
        inside = _data(item)
        parts = item if inside is None else inside
        if is_tensor(item):
            found[where] = item
        elif isinstance(parts, (tuple, list)) and depth < _MAX_DEPTH and visited < _MAX_ITEMS:
            below = [(f"{where}.{i}", part, depth + 1) for i, part in enumerate(parts)]
            stack += reversed(below[:_MAX_ITEMS])
    return found


def class_of(value: object) -> str | None:
    """Return the C++ class of a ScriptObject, without TorchScript's prefix."""
    if _data(value) is None or not isinstance(value, Instance):
        return None
    scripted = value.class_name.startswith(_SCRIPTED)
    name = value.class_name if scripted else value.state[1]
    return name.removeprefix(_PREFIX) if isinstance(name, str) else ""


def _data(value: object) -> Any:
    """Return what a ScriptObject was made of, or None for another value."""
    if not isinstance(value, Instance):
        return None
    state = value.state
    if value.class_name.startswith(_SCRIPTED):
        return state
    if value.class_name != _OBJECT:
        return None
    return state[0] if isinstance(state, tuple) and len(state) == 2 else None

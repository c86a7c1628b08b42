"""Whole pickled modules: names, tensors and hyper-parameters of objects whose classes are absent.

A module's ``__dict__`` holds ``_parameters``, ``_buffers`` and ``_modules`` (torch/nn/modules/
module.py); everything else that is plain data is an attribute such as ``batch_first``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ckptconv.checkpoint import Module
from ckptconv.containers.numpy_objects import as_array, is_scalar
from ckptconv.containers.pickle_objects import Dict, Instance
from ckptconv.containers.torch_tree import is_module, members
from ckptconv.errors import ContainerError

_OWN = ("torch.nn.modules.", "torch.nn.parallel.")
_MAX_MODULES, _MAX_DEPTH, _MAX_ITEMS = 100_000, 64, 64
NOT_SAVED = "a non-persistent buffer"


@dataclass
class Tree:
    """What a walk over a file's object finds.

    Attributes:
        values: name → pickled value of each parameter and buffer, in state_dict order.
        modules: path → Module.
        omitted: name → rule.
    """

    values: dict[str, Any] = field(default_factory=dict)
    modules: dict[str, Module] = field(default_factory=dict)
    omitted: dict[str, str] = field(default_factory=dict)


def walk(root: Instance, path: str) -> Tree:
    """Return all parameters, buffers and attributes below a module.

    Raises:
        ContainerError: more than 100,000 modules or 64 levels, as a file made to exhaust has.
    """
    tree, stack = Tree(), [("", root, 0)]
    while stack:
        prefix, module, depth = stack.pop()
        if len(tree.modules) >= _MAX_MODULES or depth > _MAX_DEPTH:
            raise ContainerError("too many modules, or too deep", file=path)
        own = members(module) or {}
        tree.modules[prefix] = Module(short_name(module.class_name), None, attributes(own))
        _take(tree, prefix, own)
        children = own["_modules"].items()
        below = [(_join(prefix, str(k)), m, depth + 1) for k, m in children if is_module(m)]
        stack += reversed(below)
    return tree


def short_name(name: str) -> str:
    """Return a class's name; without its package where it is torch's own."""
    return name.rpartition(".")[2] if name.startswith(_OWN) else name


def attributes(own: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the plain data of a ``__dict__``, private names left out."""
    plain = {str(k): jsonable(v) for k, v in own.items() if not str(k).startswith("_")}
    return {k: v for k, v in plain.items() if v is not ... and k != "training"}


def versions(state_dict: object) -> dict[str, Module]:
    """Return path → Module of a state_dict's ``_metadata``."""
    state = state_dict.state if isinstance(state_dict, Dict) else None
    table = state.get("_metadata") if isinstance(state, dict) else None
    if not isinstance(table, dict):
        return {}
    return {
        str(path): Module(version=entry.get("version") if isinstance(entry, dict) else None)
        for path, entry in table.items()
    }


def jsonable(value: Any) -> Any:
    """Return ``value`` where it is JSON-like and short, else ``...``."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if is_scalar(value):
        try:
            return as_array(value).item()
        except (TypeError, ValueError, IndexError):
            return ...
    if isinstance(value, (list, tuple)) and len(value) <= _MAX_ITEMS:
        flat = all(type(item) in (bool, int, float, str, type(None)) for item in value)
        return list(value) if flat else ...
    return ...


def _take(tree: Tree, prefix: str, own: Mapping[Any, Any]) -> None:
    """Add a module's own parameters and buffers, those that state_dict() would not, aside."""
    hidden = own.get("_non_persistent_buffers_set")
    skipped = set(map(str, hidden)) if isinstance(hidden, list) else set()
    for place in ("_parameters", "_buffers"):
        for key, value in (own.get(place) or {}).items():
            name = _join(prefix, str(key))
            if place == "_buffers" and str(key) in skipped:
                tree.omitted[name] = NOT_SAVED
            elif value is not None:
                tree.values[name] = value


def _join(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key

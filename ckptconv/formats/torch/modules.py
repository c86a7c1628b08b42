"""Whole pickled modules: names, tensors and hyper-parameters of objects whose classes are absent.

A module's ``__dict__`` holds ``_parameters``, ``_buffers`` and ``_modules`` (torch/nn/modules/
module.py); everything else that is plain data is an attribute such as ``batch_first``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ckptconv.checkpoint import Module, join
from ckptconv.codecs.pickle.numpy_arrays import as_array, is_scalar
from ckptconv.codecs.pickle.objects import Dict, Instance
from ckptconv.errors import ContainerError, plural
from ckptconv.formats.torch.members import count_tensors, is_module, members
from ckptconv.formats.torch.packed import class_of, unpacked
from ckptconv.formats.torch.tensors import is_tensor

_OWN = ("torch.nn.modules.", "torch.nn.parallel.", "torch.ao.nn.", "torch.nn.quantized.")
_MAX_MODULES, _MAX_ENTRIES, _MAX_DEPTH, _MAX_ITEMS = 100_000, 1 << 20, 64, 64
NOT_SAVED = "a non-persistent buffer"


@dataclass
class Tree:
    """What a walk over a file's object finds.

    Attributes:
        values: name → pickled value of each parameter and buffer, in state_dict order.
        modules: path → Module.
        omitted: name → rule.
        seen: objects whose tensors were counted.
    """

    values: dict[str, Any] = field(default_factory=dict)
    modules: dict[str, Module] = field(default_factory=dict)
    omitted: dict[str, str] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    _entries: int = 0

    def put(self, name: str, value: object) -> None:
        """Add a value.

        Raises:
            ContainerError: another one has its name.
        """
        if name in self.values:
            raise ContainerError("two tensors of one name", tensor=name)
        self.values[name] = value

    def visit(self, own: Mapping[Any, Any], depth: int, path: str) -> None:
        """Count a module; one object may stand under any number of names.

        Raises:
            ContainerError: more modules, levels or entries than any model has.
        """
        parts = (own, own.get("_parameters"), own.get("_buffers"), own.get("_modules"))
        self._entries += sum(len(part) for part in parts if isinstance(part, dict)) + 1
        full = self._entries > _MAX_ENTRIES or len(self.modules) >= _MAX_MODULES
        if full or depth > _MAX_DEPTH:
            raise ContainerError("too many modules, or too deep", file=path)


def walk(root: Instance, path: str) -> Tree:
    """Return all parameters, buffers and attributes below a module.

    Raises:
        ContainerError: more than 100,000 modules or 64 levels, as a file made to exhaust has.
    """
    tree, stack = Tree(), [("", root, 0)]
    while stack:
        prefix, module, depth = stack.pop()
        own = members(module) or {}
        tree.visit(own, depth, path)
        tree.modules[prefix] = Module(short_name(module.class_name), None, attributes(own))
        _take(tree, prefix, own)
        below = []
        for key, child in own["_modules"].items():
            name = join(prefix, str(key))
            if is_module(child):
                below.append((name, child, depth + 1))
            elif child is not None:
                tree.omitted[name] = f"not a module: {count_tensors(child, tree.seen)} tensors"
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
    found = {str(k): v.get("version") if isinstance(v, dict) else None for k, v in table.items()}
    known = {path: v for path, v in found.items() if type(v) is int and abs(v) < 1 << 63}
    return {path: Module(version=known.get(path)) for path in found}


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
    """Add a module's own tensors; those that state_dict() would leave out are named."""
    hidden = own.get("_non_persistent_buffers_set")
    skipped = {name for name in hidden if type(name) is str} if isinstance(hidden, list) else set()
    for place in ("_parameters", "_buffers"):
        table = own.get(place)
        for key, value in table.items() if isinstance(table, dict) else ():
            name = join(prefix, str(key))
            if place == "_buffers" and str(key) in skipped:
                tree.omitted[name] = NOT_SAVED
            elif value is not None:
                tree.put(name, value)
    take_attributes(tree, prefix, own)


def take_attributes(tree: Tree, prefix: str, own: Mapping[Any, Any]) -> None:
    """Add packed weights; name tensors that are plain attributes.

    Private lists such as ``_flat_weights`` repeat the parameters.
    """
    for key, value in own.items():
        name = join(prefix, str(key))
        if is_tensor(value):
            tree.omitted[name] = "a tensor attribute that is neither a parameter nor a buffer"
        elif class_of(value) is not None and unpacked(name, value):
            tree.put(name, value)
        elif isinstance(value, tuple) or (
            isinstance(value, (list, dict)) and not str(key).startswith("_")
        ):
            count = count_tensors(value, tree.seen)
            if count:
                tree.omitted[name] = f"an attribute with {plural(count, 'tensor')}"

"""What stands in a pickled value: the members of objects and containers, and their tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ckptconv.codecs.pickle.objects import Instance
from ckptconv.formats.torch.tensors import is_tensor

_MAX_ITEMS = 1024


def members(value: object) -> dict[Any, Any] | None:
    """Return the entries of a dict, or the attributes and entries of an object, or None."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, Instance):
        return None
    state = value.state
    if isinstance(state, tuple) and len(state) == 2:  # __dict__ and __slots__
        state = {**(state[0] or {}), **(state[1] or {})} if _are_dicts(state) else None
    return {**state, **value.mapping} if isinstance(state, dict) else value.mapping


def parts(value: object) -> dict[Any, Any]:
    """Return what can be looked into by key: members, else items or arguments by number.

    A compiled module is pickled as its class and the module that it wraps, nothing else.
    """
    own = members(value)
    items: Any = value.args if isinstance(value, Instance) else value
    if own or not isinstance(items, (list, tuple)):
        return own or {}
    return {str(i): item for i, item in enumerate(items[:_MAX_ITEMS])}


def is_module(value: object) -> bool:
    """Tell whether ``value`` has what every ``torch.nn.Module`` has."""
    if not isinstance(value, Instance):
        return False
    own = members(value) or {}
    return isinstance(own.get("_parameters"), dict) and isinstance(own.get("_modules"), dict)


def count_tensors(value: object, seen: set[int] | None = None) -> int:
    """Return how many tensors stand anywhere in ``value``.

    Args:
        seen: objects that were counted before; a file may name one object a million times.
    """
    seen, stack, count = set() if seen is None else seen, [value], 0
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if is_tensor(item):
            count += 1
        else:
            stack += _children(item)
    return count


def _children(value: object) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, (list, tuple)):
        yield from value
    elif isinstance(value, Instance):
        yield from (value.args, value.state, value.listing, value.mapping)


def _are_dicts(pair: tuple[Any, Any]) -> bool:
    return all(part is None or isinstance(part, dict) for part in pair)

"""Where the weights are in what ``torch.save`` was given.

A pickle holds a state_dict, a whole module, or a training checkpoint with either of them somewhere
in it. Nothing but the usual names of those places is known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ckptconv.codecs.pickle.objects import Instance
from ckptconv.errors import ContainerError, SeveralError
from ckptconv.formats.torch.packed import class_of
from ckptconv.formats.torch.tensors import is_tensor

_DEPTH = 3
_MAX_LISTED, _MAX_ITEMS = 12, 1024
_USUAL = re.compile(
    r"(model_|ema_|net_|network_)?state_dict(_ema)?|model(_state|_dict|_weights|_ema)?|net(_state)?"
    r"|network|module|params|weights|ema(_state|_model)?"
)
_TRAINING = re.compile(r"optim|sched|scaler|callback|loops|rng|^opt$|^amp$|^args?$|vocab|hyper")


class Place(NamedTuple):
    """A part of the object tree that holds weights: the keys that lead to it, and the part."""

    path: tuple[str, ...]
    value: Any

    @property
    def name(self) -> str:
        return ".".join(self.path)


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


def holds_weights(key: object, value: object) -> bool:
    """Tell whether an entry is a module or a dict of tensors that training alone does not need."""
    own = members(value) or {}
    found = is_module(value) or any(map(_is_weight, own.values()))
    return found and not _TRAINING.search(str(key).lower())


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


def find(root: object, select: str | None, path: str) -> Place:
    """Return the part of ``root`` that holds the weights.

    Args:
        select: the dotted path of the part that is wanted, or None to look for it.

    Raises:
        ContainerError: nothing there, no tensors, or several places and no ``select``.
    """
    start = Place((), root) if select is None else _follow(root, select, path)
    if is_module(start.value) or is_tensor(start.value):
        return start
    if isinstance(start.value, (list, tuple)) and any(map(is_tensor, start.value)):
        return start
    places = list(_places(start))
    usual = [place for place in places if any(map(_USUAL.fullmatch, place.path[len(start.path) :]))]
    chosen = usual or _without_strays(start, places)
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        raise _nothing(start.value, path)
    names = [place.name for place in chosen]
    listed = ", ".join(names[:_MAX_LISTED]) + (", …" if len(names) > _MAX_LISTED else "")
    error = SeveralError(
        f"weights in {len(names)} places",
        file=path,
        expected="one state_dict or module",
        found=listed,
        hint=f"--select {names[0]}",
    )
    error.choices = names
    raise error


def _places(start: Place) -> Iterator[Place]:
    """Yield the dicts and modules with tensors, outermost first, each object once."""
    level, seen = [start], {id(start.value)}
    for _ in range(_DEPTH + 1):
        below: list[Place] = []
        for place in level:
            own = parts(place.value)
            if is_module(place.value):
                if count_tensors(place.value):
                    yield place
                continue
            if any(map(_is_weight, own.values())):
                yield place
            if {"state", "param_groups"} <= own.keys():
                continue
            for key, value in own.items():
                if id(value) in seen or not isinstance(value, (dict, Instance)):
                    continue
                seen.add(id(value))
                if not _TRAINING.search(str(key).lower()):
                    below.append(Place((*place.path, str(key)), value))
        level = below


def _is_weight(value: object) -> bool:
    return is_tensor(value) or class_of(value) is not None


def _without_strays(start: Place, places: list[Place]) -> list[Place]:
    """Return the outermost dict alone, or, where one below it holds more tensors, those below."""
    below = [place for place in places if place.path != start.path]
    own = [place for place in places if place.path == start.path]
    if not own or any(is_module(place.value) for place in below):
        return below
    sizes = [sum(map(_is_weight, (members(place.value) or {}).values())) for place in own + below]
    return own if sizes[0] == max(sizes) else below


def _follow(root: object, select: str, path: str) -> Place:
    """Walk a dotted path; keys may hold dots themselves, so the longest key wins."""
    value, keys, rest = root, (), select.split(".")  # type: Any, tuple[str, ...], list[str]
    while rest:
        own = {str(key): child for key, child in parts(value).items()}
        for length in range(len(rest), 0, -1):
            key = ".".join(rest[:length])
            if key in own:
                value, keys, rest = own[key], (*keys, key), rest[length:]
                break
        else:
            there = ", ".join(list(own)[:_MAX_LISTED]) or "nothing that can be selected"
            raise ContainerError(
                "no such part", file=path, expected=f"--select {select}", found=there
            )
    return Place(keys, value)


def _nothing(value: object, path: str) -> ContainerError:
    own = members(value)
    if own is None:
        found = f"a {type(value).__name__}"
    elif not own:
        found = "nothing"
    else:
        found = ", ".join(str(key) for key in list(own)[:_MAX_LISTED])
    return ContainerError(
        "no weights in it", file=path, expected="a state_dict or a module", found=found
    )


def _children(value: object) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, (list, tuple)):
        yield from value
    elif isinstance(value, Instance):
        yield from (value.args, value.state, value.listing, value.mapping)


def _are_dicts(pair: tuple[Any, Any]) -> bool:
    return all(part is None or isinstance(part, dict) for part in pair)

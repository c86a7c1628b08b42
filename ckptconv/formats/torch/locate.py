"""Where the weights are in what ``torch.save`` was given.

A pickle holds a state_dict, a whole module, or a training checkpoint with either of them somewhere
in it. What holds weights is told by structure: a module, or a dict with floating-point tensors that
are more than single numbers, and no optimizer's. Parts of a model beside each other (``model`` and
``generator``) are taken together, each under its key. Where one may be another version of the
other, or holds it, or not just one key is a usual one, the user says which.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ckptconv.codecs.pickle.numpy_arrays import is_array, may_be_floats
from ckptconv.codecs.pickle.objects import Instance
from ckptconv.errors import ContainerError, SeveralError, listed
from ckptconv.formats.torch.members import count_tensors, is_module, members, parts
from ckptconv.formats.torch.packed import class_of
from ckptconv.formats.torch.tensors import Stored, is_tensor
from ckptconv.spelling import option

ALL = "*"
"""What selects every part that holds weights, each under the keys that lead to it."""

_DEPTH = 3
_MAX_LISTED, _MAX_ADVISED = 12, 200
_USUAL = re.compile(
    r"(model_|ema_|net_|network_)?state_dict(_ema)?|model(_state|_dict|_weights|_ema)?|net(_state)?"
    r"|network|module|params|weights|ema(_state|_model)?"
)
_MARKS = {"pytorch-lightning_version": "state_dict"}
"""Keys by which a format of checkpoints says where its weights are."""
_WRAPPED = re.compile(r"^((module|_orig_mod|_fsdp_wrapped_module)\.)+")
_EXTRA = "_extra_state"  # what a module adds to its state_dict, whatever it is
_WEIGHTS = ("float", "bfloat", "q")


class Place(NamedTuple):
    """A part of the object tree that holds weights: the keys that lead to it, and the part."""

    path: tuple[str, ...]
    value: Any

    @property
    def name(self) -> str:
        return ".".join(self.path)


def holds_weights(value: object) -> bool:
    """Tell whether a value is a module, or a dict that holds weights and is no optimizer's."""
    if is_module(value):
        return count_tensors(value) > 0
    own = members(value) or {}
    return not _is_optimizer(own) and any(map(_is_weight, own.values()))


def find(root: object, select: str | None, path: str) -> list[Place]:
    """Return the part of ``root`` that holds the weights; all of them where ``select`` is ``*``.

    Args:
        select: the dotted path of the part that is wanted, or None to look for it.

    Raises:
        ContainerError: nothing there, no tensors, or several places and no ``select``.
    """
    start = Place((), root) if select in (None, ALL) else _follow(root, str(select), path)
    if is_module(start.value) or is_tensor(start.value):
        return [start]
    if isinstance(start.value, (list, tuple)) and any(map(is_tensor, start.value)):
        return [start]
    kinds = (holds_weights, _holds_arrays, _holds_tensors)
    places = next(filter(None, (list(_places(start, holds)) for holds in kinds)), [])
    if not places:
        raise _nothing(start.value, path)
    mark = _marked(start.value)
    marked = [place for place in places if mark and place.path == mark]
    places = marked if select is None and marked else places
    if len(places) == 1 or select == ALL:
        return places
    usual = [place for place in places if any(map(_USUAL.fullmatch, place.path))]
    if len(usual) == 1 and all(_is_state(place.value) for place in places) and not _overlap(places):
        return places
    places.sort(key=lambda place: place not in usual)
    names = [place.name for place in places if place.path != start.path]
    beside = " and beside them" if len(names) < len(places) else ""
    advised = [option("select", n) for n in (*names[:1], ALL) if len(n) <= _MAX_ADVISED]
    raise SeveralError(
        f"weights in {len(places)} places",
        choices=[*names, ALL],
        file=path,
        expected="one state_dict or module",
        found=listed(names, _MAX_LISTED) + beside,
        hint=f"{' or '.join(advised)}; {ALL!r} is all, under their keys",
    )


def _marked(root: object) -> tuple[str, ...]:
    own = members(root) or {}
    return tuple(place for mark, place in _MARKS.items() if mark in own)


def _places(start: Place, holds: Callable[[object], bool]) -> Iterator[Place]:
    """Yield the dicts and modules with weights, outermost first, each object once."""
    level, seen = [start], {id(start.value)}
    for _ in range(_DEPTH + 1):
        below: list[Place] = []
        for place in level:
            if not isinstance(place.value, (list, tuple)) and holds(place.value):
                yield place
            own = parts(place.value)
            if is_module(place.value) or _is_optimizer(own):
                continue
            for key, value in own.items():
                inside = isinstance(value, (dict, list, tuple, Instance))
                if inside and id(value) not in seen and not str(key).endswith(_EXTRA):
                    seen.add(id(value))
                    below.append(Place((*place.path, str(key)), value))
        level = below


def _is_state(value: object) -> bool:
    """Tell what ``state_dict()`` gives, tensors alone, from data with tensors among it."""
    entries = (members(value) or {}).items()
    return is_module(value) or all(
        is_tensor(item) or class_of(item) is not None or str(key).endswith(_EXTRA)
        for key, item in entries
    )


def _overlap(places: list[Place]) -> bool:
    """Tell whether two places hold the same names: perhaps one model twice, such as its average;
    or one holds the other."""
    seen = [{_WRAPPED.sub("", str(k)) for k in members(place.value) or {}} for place in places]
    nested = any(place.path[:-1] == other.path for place in places for other in places)
    return nested or any(one & other for i, one in enumerate(seen) for other in seen[:i])


def _is_optimizer(own: dict[Any, Any]) -> bool:
    return {"state", "param_groups"} <= own.keys()


def _holds_arrays(value: object) -> bool:
    return any(map(may_be_floats, (members(value) or {}).values()))


def _holds_tensors(value: object) -> bool:
    own = members(value) or {}
    return not _is_optimizer(own) and any(map(is_tensor, own.values()))


def _is_weight(value: object) -> bool:
    """Single numbers and whole ones are counters, losses, states of random generators."""
    if isinstance(value, Stored):
        return bool(value.shape) and value.dtype.startswith(_WEIGHTS)
    return (is_tensor(value) and not is_array(value)) or class_of(value) is not None


def _follow(root: object, select: str, path: str) -> Place:
    """Walk a dotted path; keys may hold dots themselves, so the longest key wins."""
    value: Any = root
    keys: tuple[str, ...] = ()
    rest = select.split(".")
    while rest:
        own = {str(key): child for key, child in parts(value).items()}
        for length in range(len(rest), 0, -1):
            key = ".".join(rest[:length])
            if key in own:
                value, keys, rest = own[key], (*keys, key), rest[length:]
                break
        else:
            there = listed(own, _MAX_LISTED) or "nothing that can be selected"
            expected = option("select", select)
            raise ContainerError("no such part", file=path, expected=expected, found=there)
    return Place(keys, value)


def _nothing(value: object, path: str) -> ContainerError:
    own = members(value)
    if own is None:
        found = f"a {type(value).__name__}"
    elif not own:
        found = "nothing"
    else:
        found = listed(map(str, own), _MAX_LISTED)
    return ContainerError(
        "no weights in it", file=path, expected="a state_dict or a module", found=found
    )

"""What options take, of whoever calls a function: texts, numbers, paths, pairs, and leave."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from operator import index
from types import NoneType
from typing import Any, cast

from ckptconv.errors import CkptconvError, UsageError
from ckptconv.graph.hints import KindHint
from ckptconv.spelling import option

_LONGEST = 100
_PATH = (str, os.PathLike, NoneType)
_TAKEN: Mapping[str, tuple[Any, str]] = {
    **dict.fromkeys(("z_convention", "like_order", "fold_proj"), (bool, "True or False")),
    **dict.fromkeys(("check", "dry_run", "force"), (bool, "True or False")),
    **dict.fromkeys(("select", "gates"), ((str, NoneType), "a text")),
    **dict.fromkeys(("restore", "config", "network"), (_PATH, "a path")),
    "map": ((*_PATH, Mapping), "a path, or a mapping"),
    "forget_bias": (Real, "a number"),
    "progress": ((Callable, NoneType), "a function"),
}
"""What other options take."""


def check(given: Mapping[str, object]) -> None:
    """Raise UsageError for an option, by its name, whose value is of no type that it takes."""
    for name, (types, expected) in _TAKEN.items():
        value = given.get(name)
        if name in given and (not isinstance(value, types) or value == ""):
            raise UsageError(name, expected=expected, found=repr(value)[:_LONGEST])
    if isinstance(given.get("map"), Mapping):
        pairs("map", given["map"])


def pairs(name: str, given: Any) -> list[tuple[str, Any]]:
    """Return a mapping or pairs as pairs; UsageError for anything else."""
    items = given.items() if isinstance(given, Mapping) else () if given is None else given
    found = [given] if isinstance(given, str) or not isinstance(items, Iterable) else [*items]
    for pair in found:
        parts = pair if isinstance(pair, tuple | list) and len(pair) == 2 else (None, None)
        if not all(
            isinstance(part, str | KindHint) for part in (parts[:1] if name == "fuse" else parts)
        ):
            expected = "a mapping, or pairs of texts"
            raise UsageError(f"{name} takes pairs", expected=expected, found=repr(pair))
    return [(left, right) for left, right in found]


def texts(name: str, given: Iterable[str] | None) -> tuple[str, ...]:
    """Return several texts; UsageError for one alone, and for anything else."""
    if isinstance(given, str):
        raise UsageError(f"{name}: a text where a list of texts is meant", found=repr(given))
    several = isinstance(given, Iterable) and not isinstance(given, Mapping)
    found = () if given is None else tuple(given) if several else (given,)
    if not all(isinstance(text, str) for text in found):
        raise UsageError(name, expected="a list of texts", found=repr(given)[:_LONGEST])
    return cast("tuple[str, ...]", found)


_LIVE = {
    "trainable_variables": "like='w.weights.h5'; that is of a model's save_weights",
    "named_modules": "ckptconv.load_into(network, file); it fills the network itself",
    "parameters_dict": "ckptconv.load_into(cell, file); it fills the cell itself",
    "values": "{name: value.shape for name, value in like.items()}",
}
"""What a thing that is no mapping of shapes has → what to do with it."""


def shapes_of(like: Any) -> dict[str, tuple[int, ...]]:
    """Return a mapping of names to shapes; CkptconvError for anything else, such as a network."""
    try:
        return {name: tuple(map(index, dims)) for name, dims in like.items()}
    except (AttributeError, TypeError, ValueError):
        expected = "a file, or a mapping of names to shapes"
        hint = next((advice for own, advice in _LIVE.items() if hasattr(like, own)), _row(like))
        found = repr(like)[:_LONGEST]
        raise CkptconvError("like", expected=expected, found=found, hint=hint) from None


def _row(like: Any) -> str | None:
    """Say how names, parameters or pairs of both, one after the other, become a mapping."""
    if isinstance(like, str | bytes) or not hasattr(like, "__iter__"):
        return None
    first = next(iter(like), None)
    if hasattr(first, "shape") and hasattr(first, "name"):
        return "{value.name: value.shape for value in like}"
    if isinstance(first, tuple | list) and len(first) == 2:
        shaped = hasattr(first[1], "shape")
        return "{name: value.shape for name, value in like}" if shaped else "dict(like)"
    return "{name: value.shape for name, value in network.state_dict().items()}"


class Allowance(frozenset[str]):
    """Approximations that the user accepts by name; ``needed`` are those that something needed."""

    needed: set[str]

    def __contains__(self, name: object) -> bool:
        found = super().__contains__(name)
        if found:
            vars(self).setdefault("needed", set()).add(name)
        return found

    def check(self) -> None:
        """Raise CkptconvError for an entry that nothing needed, once all layers are read."""
        needed = vars(self).get("needed", set())
        if stray := sorted(set(self) - needed):
            raise CkptconvError(
                f"{option('allow', stray)}: nothing in the file needs it",
                expected=" or ".join(sorted(needed)) or "none: all of it is read exactly",
            )

"""Modules of several names, of which a program tells one: ``self.conv`` that a list holds, too."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping

from ckptconv.checkpoint import Module, ties
from ckptconv.tensors.tensor import Tensor

_MAX_NAMES, _MAX_DEPTH = 16, 64
"""More names of one tensor, or more modules in one another, tell nothing here."""


def with_twins(modules: Mapping[str, Module], tensors: Mapping[str, Tensor]) -> dict[str, Module]:
    """Add what is known of modules under the other names that they have: those below which stand
    the very same tensors, all of a module's own.

    Args:
        modules: path → Module.
        tensors: by full name.
    """
    alike = {name: group for group in ties(tensors) if len(group) <= _MAX_NAMES for name in group}
    known = dict(modules)
    if not alike:
        return known
    order, below = sorted(modules), _below(tensors)
    for path in order:
        found = [_owners(alike.get(path + own, ()), own) for own in below.get(path, ())]
        near = order[bisect_left(order, path) : bisect_left(order, f"{path}/")]  # just after dots
        parts = [name for name in near if name == path or name.startswith(f"{path}.")]
        for twin in set.intersection(*found) - modules.keys() if found else ():
            known |= {twin + name.removeprefix(path): modules[name] for name in parts}
    return known


def _below(names: Iterable[str]) -> dict[str, list[str]]:
    """Return path → the rest of each name that stands below it, with its dot."""
    found: dict[str, list[str]] = {}
    for name in (name for name in names if name.count(".") <= _MAX_DEPTH):
        for end in (i for i, letter in enumerate(name) if letter == "."):
            found.setdefault(name[:end], []).append(name[end:])
    return found


def _owners(names: Iterable[str], own: str) -> set[str]:
    return {name.removesuffix(own) for name in names if name.endswith(own)}

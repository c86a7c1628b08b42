"""Where names speak against a pairing that order proposes, and what else comes to mind."""

from __future__ import annotations

import difflib
import heapq
import re
from collections.abc import Sequence

from ckptconv.passes.match.names import common_prefix

_NUMBERS = re.compile(r"\d+")
_SHOWN = 8
_FEW = 32
_PAIRWISE = 12


def doubts(source: Sequence[str], target: Sequence[str]) -> list[str]:
    """Return for each pair of equal place what its names say against it, or ``""``.

    Names are compared without what all of a side begin with.
    """
    first, second = common_prefix(source), common_prefix(target)
    source = [name.removeprefix(first) for name in source]
    target = [name.removeprefix(second) for name in target]
    by_number = _by_numbers(source, target)
    by_words = _by_words(source, target)
    there = set(target)
    found = []
    for place, (old, new) in enumerate(zip(source, target, strict=True)):
        meant = old if old in there else by_number.get(old, by_words.get(place, new))
        found.append(f"by its name it would be {second}{meant}" if meant != new else "")
    return found


def closest(name: str, others: Sequence[str], place: int = 0) -> tuple[str, ...]:
    """Return the few names most like ``name``, the likeliest first.

    Args:
        place: where ``name`` stands on its side; among many, only those about there are looked at.
    """
    start = max(0, min(place, len(others)) - _FEW)
    wanted = _pieces(name)
    near = others[start : start + 2 * _FEW]
    return tuple(heapq.nlargest(_SHOWN, near, key=lambda other: _likeness(wanted, _pieces(other))))


def _by_numbers(source: Sequence[str], target: Sequence[str]) -> dict[str, str]:
    """Return the pairing by increasing numbers, where numbers are all that tells names apart."""
    if len({_NUMBERS.sub("#", name) for name in source}) > 1:
        return {}
    if len({_NUMBERS.sub("#", name) for name in target}) > 1:
        return {}
    return dict(zip(sorted(source, key=_numbers), sorted(target, key=_numbers), strict=True))


def _by_words(source: Sequence[str], target: Sequence[str]) -> dict[int, str]:
    """Return place → the name that is by far the likest, where each is the other's."""
    if len(source) > _PAIRWISE:
        return {}
    ratio = [
        [difflib.SequenceMatcher(None, a, b, autojunk=False).ratio() for b in target]
        for a in source
    ]
    found = {}
    for i, row in enumerate(ratio):
        best = max(row)
        j = row.index(best)
        column = [other[j] for other in ratio]
        if j != i and row.count(best) == column.count(best) == 1 and best == max(column):
            found[i] = target[j]
    return found


def _numbers(name: str) -> list[int]:
    return [int(number) for number in _NUMBERS.findall(name)]


def _pieces(name: str) -> set[str]:
    return {name[max(i, 0) : i + 3] for i in range(-2, len(name))} | {name}


def _likeness(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)

"""What came home, held against what went out: the same, or the report says what is not."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from ckptconv.report import Report
from tests.differential.piece import Arrays

_NAMED = re.compile(r"(.*?)(?: and (\d+) more)?(?:: .*|$)", re.DOTALL)
"""A note: the names that it speaks of, and how many more."""


class Problem(NamedTuple):
    reason: str
    detail: str


def compare(found: Arrays, before: Arrays, out: Report, back: Report) -> Problem | None:
    """Return what is other than it was and is not told, if anything."""
    named, more = set[str](), 0
    for note in back.notes:
        names, count = _NAMED.match(note).groups()
        named |= set(names.split(", "))
        more += int(count or 0)
    others = [(name, _differs(found, before, name)) for name in {**before, **found}]
    silent = [(name, reason) for name, reason in others if reason and name not in named]
    if len(silent) <= more:
        return None
    name, reason = silent[0]
    return Problem(reason, f"{name}: {out.omitted.get(name)}")


def _differs(found: Arrays, before: Arrays, name: str) -> str:
    if name not in found:
        return "is not there"
    if name not in before:
        return "was not there"
    one, other = found[name], before[name]
    if one.dtype != other.dtype:
        return f"another dtype: {other.dtype} to {one.dtype}"
    if one.shape != other.shape:
        return "another shape"
    return "" if one.tobytes() == other.tobytes() else "other values"


def is_rounded(found: Arrays, before: Arrays) -> bool:
    """Tell whether all that came home is what went out, rounded to the dtype that it has now."""
    return all(
        np.array_equal(found[name], value.astype(found[name].dtype), equal_nan=True)
        for name, value in before.items()
        if name in found
    )

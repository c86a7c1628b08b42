"""What came home, held against what went out: the same, or the report says what is not."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from ckptconv.report import Report
from tests.differential.piece import Arrays

_NAMED = re.compile(r"(.*?)(?: and (\d+) more)?(?:: .*|$)", re.DOTALL)
"""A note: the names that it speaks of, and how many more."""
_CAST = re.compile(r": not undone: cast \w+ → \w+$")


class Problem(NamedTuple):
    reason: str
    detail: str


def compare(found: Arrays, before: Arrays, out: Report, back: Report) -> Problem | None:
    """Return what is other than it was and is not told, if anything."""
    told, more = dict[str, str](), 0
    for note in back.notes:
        names, count = _NAMED.match(note).groups()
        told |= {each: note for name in names.split(", ") for each in (name, _short(name))}
        more += int(count or 0)
    silent = []
    for name in {**before, **found}:
        note, reason = told.get(name.rstrip("#")), _differs(found, before, name)
        rounded = note is None or not _CAST.search(note) or _is_rounded(found, before, name)
        if (reason and note is None) or not rounded:
            silent.append((name, reason))
    if len(silent) <= more:
        return None
    name, reason = silent[0]
    return Problem(reason, f"{name}: {out.omitted.get(name)}")


def by_layer(arrays: Arrays) -> dict[str, np.ndarray]:
    """Return Keras's weights by layer and leaf, between which every version has other scopes."""
    found: dict[str, list[np.ndarray]] = {}
    for name, value in arrays.items():
        if "seed" not in name and not name.startswith("optimizer"):
            found.setdefault(_short(name.removeprefix("model_weights/")), []).append(value)
    return {
        f"{name}{'#' * place}": value
        for name, values in found.items()
        for place, value in enumerate(sorted(values, key=_as_numbers))
    }


def _as_numbers(value: np.ndarray) -> list[float]:
    return value.astype("f8").ravel().tolist()


def _short(name: str) -> str:
    parts = name.removesuffix(":0").split("/")
    return f"{parts[0]}/{parts[-1]}"


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


def _is_rounded(found: Arrays, before: Arrays, name: str) -> bool:
    """Tell whether a tensor is what went out, rounded to the dtype that it has now."""
    one, other = found.get(name), before.get(name)
    if one is None or other is None:
        return True
    return one.shape == other.shape and np.array_equal(one, other.astype(one.dtype))

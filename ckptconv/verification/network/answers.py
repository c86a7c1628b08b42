"""What a source's model makes of inputs, and what that can show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ckptconv.tensors.regions import Array
from ckptconv.verification.network.inputs import Case

_NOTHING = "which shows nothing"


class Answers(NamedTuple):
    """What the source's model gives: for each set of inputs, every output by its name."""

    cases: list[Case]
    outputs: list[list[Array]]
    names: list[str]
    states: int
    by: str


def remarks(answers: Answers) -> list[str]:
    """Return what these outputs cannot show of a network."""
    said = ((i, answers.names[i], _shown(values)) for i, values in enumerate(_values(answers)))
    notes = [f"output {i} {name} {reach}" for i, name, reach in said if reach]
    if answers.states:
        notes.append(
            "first states are zeros; the last ones, which the source keeps, are not compared"
        )
    return notes


def unshown(answers: Answers) -> int:
    """Count the outputs that are the same whatever goes in, or no numbers."""
    return sum(_shown(values).endswith(_NOTHING) for values in _values(answers))


def _values(answers: Answers) -> Iterator[Array]:
    """Yield all values of each output, of every set of inputs."""
    for row in zip(*answers.outputs, strict=True):
        yield np.concatenate([array.ravel() for array in row]).astype(np.float64)


def _shown(values: Array) -> str:
    """Return why an output shows little or nothing, whatever is computed; nothing if it does."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return f"has no finite number, {_NOTHING}"
    if finite.size < values.size:
        return "is not finite in places, which shows little"
    return f"is {finite[0]:g} whatever goes in, {_NOTHING}" if np.ptp(finite) == 0 else ""

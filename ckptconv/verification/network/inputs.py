"""What whole networks are run on: seeded, of several sizes, and masked where they mask.

Functions that agree on small numbers, such as relu and relu6, differ on large ones, and a norm's
epsilon shows on very small ones: inputs that are floats are drawn of several magnitudes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np

from ckptconv.graph.graph import Graph
from ckptconv.graph.network import Network, Value
from ckptconv.tensors.regions import Array

_BATCH = 4
_LENGTHS = (7, 12)
MAGNITUDES = (2.0**-7, 8.0, 64.0, 4096.0)
"""Beside 1: what is left of them behind layers that shrink still goes beyond every bend."""
_ANY_NUMBER = 10
"""Of an integer input that no Embedding takes."""


@dataclass(frozen=True)
class Case:
    """One set of inputs.

    Attributes:
        arrays: in the order of the network's inputs.
        batch, length: the sizes that were chosen where the network leaves them free.
        masked: steps are left out, before, behind and amid others.
        magnitude: of the largest numbers of inputs that are floats.
    """

    arrays: tuple[Array, ...]
    batch: int | None = None
    length: int | None = None
    masked: bool = False
    magnitude: float = 1.0

    def __str__(self) -> str:
        sizes = [("batch", self.batch), ("length", self.length)]
        said = [f"{name} {n}" for name, n in sizes if n is not None]
        said += ["masked steps"] * self.masked
        said += [f"inputs up to {self.magnitude:g}"] * (self.magnitude != 1)
        return ", ".join(said) or "as recorded"

    def to_dict(self) -> dict[str, Any]:
        said = {name: value for name, value in vars(self).items() if name != "arrays"}
        return {**said, "shapes": [list(array.shape) for array in self.arrays]}


def cases(
    network: Network,
    graph: Graph,
    seed: int,
    *,
    batch: int | None = None,
    least: int = 1,
    stretch: int = 1,
) -> list[Case]:
    """Return inputs of two batch sizes and, where the length is free, of two lengths.

    Args:
        graph: the layers; an Embedding's rows bound the integers that reach it.
        batch: the only one that the source's model takes.
        least: the smallest one.
        stretch: makes free lengths so many times as long.
    """
    free = [_free(value) for value in network.inputs]
    batches = (batch,) if batch else (_BATCH, least) if any(f for f, _ in free) else (None,)
    lengths = tuple(n * stretch for n in _LENGTHS) if any(n for _, n in free) else (None,)
    sizes = [(b, lengths[0]) for b in batches] + [(batches[0], n) for n in lengths[1:]]
    rows, masks = _rows(network, graph), dict(_masks(network))
    found = []
    for number, (b, length) in enumerate(sizes):
        rng = np.random.default_rng([seed, number])
        arrays, left_out = [], False
        for value in _given(network):
            name, shape = value.name, _shape(value.shape, b, length)
            arrays.append(_array(rng, np.dtype(value.dtype), shape, rows.get(name), name in masks))
            if name in masks and (name not in rows or 0 <= masks[name] < rows[name]):
                left_out |= _leave_out(arrays[-1], masks[name])
        kept = [np.zeros(_shape(value.shape, b, length), value.dtype) for value in _kept(network)]
        found.append(Case((*arrays, *kept), b, length, left_out))
    return found


def magnified(network: Network, case: Case) -> list[Case]:
    """Return the same inputs in other magnitudes; none where no input is a float."""
    masks = dict(_masks(network))
    marks = [masks.get(value.name, np.nan) for value in network.inputs]
    if not any(array.dtype.kind == "f" for array in case.arrays):
        return []
    return [
        replace(case, arrays=tuple(map(_times, case.arrays, repeat(by), marks)), magnitude=by)
        for by in MAGNITUDES
    ]


def _times(array: Array, factor: float, mark: float) -> Array:
    """Multiply floats, but for what marks a step that does not count."""
    if array.dtype.kind != "f":
        return array
    return np.where(array == mark, array, array * array.dtype.type(factor))


def _given(network: Network) -> tuple[Value, ...]:
    return network.inputs[: len(network.inputs) - network.states[0]]


def _kept(network: Network) -> tuple[Value, ...]:
    """Return the states that the source keeps from call to call, which begin at zero."""
    return network.inputs[len(network.inputs) - network.states[0] :]


def _free(value: Value) -> tuple[int, int]:
    """Return how many axes of a value are the batch, and how many are lengths, of any size."""
    free = value.shape.count(None)
    return min(free, 1), max(free - 1, 0)


def _shape(shape: tuple[int | None, ...], batch: int | None, length: int | None) -> tuple[int, ...]:
    """Fill a shape in: its first free axis is the batch."""
    first = shape.index(None) if None in shape else -1
    chosen = [batch if i == first else length if n is None else n for i, n in enumerate(shape)]
    return tuple(n or 1 for n in chosen)


def _rows(network: Network, graph: Graph) -> dict[str, int]:
    """Return input → the rows of the smallest Embedding that its numbers reach."""
    tables = {
        layer.path: layer.params["weight"].shape[0]
        for layer in graph
        if layer.kind.startswith("Embedding")
    }
    reached = {value.name: {value.name} for value in network.inputs}
    found: dict[str, int] = {}
    for node in network:
        sources = {name for given in node.inputs for name in reached.get(given, ())}
        if node.layer is None:
            reached |= dict.fromkeys(node.outputs, sources)
        elif node.layer in tables:
            for name in sources:
                found[name] = min(tables[node.layer], found.get(name, tables[node.layer]))
    return found


def _masks(network: Network) -> Iterator[tuple[str, float]]:
    """Yield input → the number that says that a step does not count."""
    same = {value.name: value.name for value in network.inputs}
    for node in network:
        first = same.get(node.inputs[0]) if node.inputs else None
        if first is None:
            continue
        if node.op == "to_int":
            same[node.outputs[0]] = first
        elif node.op == "compare_number" and node.arguments["by"] == "ne":
            yield first, node.arguments["number"]


def _array(
    rng: np.random.Generator,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    rows: int | None,
    masks: bool,
) -> Array:
    """Return numbers of an input; zero is kept for masks where it can be."""
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if rows is not None or dtype.kind in "iu":
        high = rows or _ANY_NUMBER
        return rng.integers(int(masks and high > 1), high, shape).astype(dtype)
    return rng.uniform(-1, 1, shape).astype(dtype)


def _leave_out(array: Array, mask: float) -> bool:
    """Mask steps of (batch, time, …): before others, behind, amid, and none, in turn."""
    time = array.shape[1] if array.ndim > 1 else 0
    if time < 2:
        return False
    third = -(-time // 3)
    sides = (slice(0, third), slice(time - third, time), slice(1, 1 + third))
    for row, steps in zip(array, sides if time > 2 else sides[:2], strict=False):
        row[steps] = mask
    return True

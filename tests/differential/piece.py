"""One layer of a source model, and what a report must not do with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]


@dataclass
class Piece:
    """One layer of a source model.

    Attributes:
        path: the network's own name for it.
        kind: the canonical kind, or "" for a class that no framework knows.
        hyper: what no shape tells and is not the default, under torch's names.
        given: arrays to run it with.
        expected: what the source computes of them.
        sources: names of its tensors in the file.
        wholes: target → the call of a layer of several layers, which no row of a report gives.
        told: the file names its class.
    """

    path: str
    kind: str
    given: list[np.ndarray]
    expected: np.ndarray
    sources: set[str]
    hyper: dict[str, Any] = field(default_factory=dict)
    wholes: dict[str, str] = field(default_factory=dict)
    told: bool = False
    values: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def answer(self) -> str:
        if not self.kind:
            return "Parameter"
        return f"{self.kind}({', '.join(f'{k}={v!r}' for k, v in self.hyper.items())})"


def size_of(rng: Random) -> int:
    """Draw a hidden size: often that of the input, which hides what shapes would tell."""
    return rng.choice([3, 4, 4, 5])


def array(shape: Any, rng: Random) -> np.ndarray:
    """Draw a float32 input of a shape, or tokens where there is none."""
    generator = np.random.default_rng(rng.randrange(1 << 30))
    if shape is None:
        return generator.integers(0, 4, (2, 3)).astype("i4")
    return (generator.normal(size=shape) * 0.5).astype("f4")


class Silent(Exception):  # noqa: N818
    """The report lets a user believe what is not so."""


def inside(path: str, other: str) -> bool:
    """Tell whether a path is another one or below it."""
    return f"{path}.".startswith(f"{other}.")


def named(rng: Random, recipe: str, recipes: Mapping[str, tuple[Any, list[str]]]) -> str:
    """Draw one of a recipe's names, and now and then another's: a name proves nothing."""
    other = rng.random() < 0.15
    return rng.choice(recipes[rng.choice(list(recipes)) if other else recipe][1])


def in_order(rng: Random, drawn: list[str]) -> list[str]:
    """Return recipes in the order of a model: a norm stands first or after its convolution, and
    what may be a table feeds what comes next."""
    norms = [recipe for recipe in drawn if recipe.startswith("BatchNorm")]
    feeding = [recipe for recipe in drawn if recipe in ("Embedding", "Linear")]
    rest = [recipe for recipe in drawn if recipe not in (*norms, *feeding)]
    if not norms:
        return feeding + rest
    norm, rest = norms[0], [recipe for recipe in rest if not recipe.startswith("Conv")]
    if rng.random() < 0.7:
        return [*feeding, *rest, f"Conv{norm[-1]}", norm]
    return [norm, *feeding, *rest]

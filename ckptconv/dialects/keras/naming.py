"""Names of Keras's layers and of their weights in either layout of HDF5."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ckptconv.checkpoint import KerasFacts
from ckptconv.dialects.keras.model_config import snake_case
from ckptconv.errors import DialectError
from ckptconv.graph.graph import Layer
from ckptconv.spelling import option
from ckptconv.tensors.tensor import Tensor


@dataclass
class Weight:
    """One weight: its scopes below the layer in either layout, and its number in its group."""

    scope: str
    leaf: str
    group: str
    number: int
    tensor: Tensor


@dataclass
class KerasLayer:
    name: str
    class_name: str
    weights: list[Weight]


class _Paths:
    """Which layer has a name of Keras's."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}

    def add(self, made: KerasLayer, layer: Layer) -> None:
        """Note who has a name.

        Raises:
            DialectError: another layer has it. The advice renames the one whose path is not the
                name, by which proofs pair the other.
        """
        other = self._paths.setdefault(made.name, layer.path)
        if not made.class_name or other == layer.path:
            return
        moved = other if "." in other else layer.path
        problem, both = "two layers would get this name", f"{other}, {layer.path}"
        rule = option("rename", {f"^{re.escape(moved)}$": f"{moved}_2"})
        raise DialectError(problem, tensor=made.name, found=both, hint=rule)


class Named:
    """The legacy layout: groups are layers, by name."""

    def __init__(self) -> None:
        self._weights: dict[str, list[str]] = {}
        self._paths = _Paths()

    def add(self, made: KerasLayer, layer: Layer) -> dict[str, Tensor]:
        """Return the weights of one more layer under their names.

        Raises:
            DialectError: another layer has its name.
        """
        self._paths.add(made, layer)
        names = self._weights.setdefault(made.name, [])
        tensors: dict[str, Tensor] = {}
        for weight in made.weights:
            name = "/".join(filter(None, (made.name, weight.scope, weight.leaf))) + ":0"
            names.append(name)
            tensors[f"{made.name}/{name}"] = weight.tensor
        return tensors

    def facts(self) -> KerasFacts:
        weights = {layer: tuple(names) for layer, names in self._weights.items()}
        return KerasFacts("legacy", weights=weights)


class Numbered:
    """``.weights.h5``: groups are classes, with a counter for each."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._paths = _Paths()

    def add(self, made: KerasLayer, layer: Layer) -> dict[str, Tensor]:
        """Return the weights of one more layer under their numbers.

        Raises:
            DialectError: another layer has its name.
        """
        self._paths.add(made, layer)
        group = snake_case(made.class_name)
        number = self._counts[group] = self._counts.get(group, -1) + 1
        path = f"layers/{group}_{number}" if number else f"layers/{group}"
        self._names[path] = made.name
        tensors: dict[str, Tensor] = {}
        for weight in made.weights:
            inner = "/".join(filter(None, (path, weight.group)))
            tensors[f"{inner}/vars/{weight.number}"] = weight.tensor
        return tensors

    def facts(self) -> KerasFacts:
        return KerasFacts("weights.h5", names=self._names)

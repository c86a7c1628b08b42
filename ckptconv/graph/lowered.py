"""Layers in a target's names: what a dialect makes of a graph, ready to be written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ckptconv.checkpoint import Facts
from ckptconv.errors import DialectError
from ckptconv.graph.graph import Layer
from ckptconv.tensors.tensor import Tensor


class Dropped(NamedTuple):
    """A tensor of the graph that the target has no place for, and the rule that says so."""

    tensor: Tensor
    rule: str


class Part(NamedTuple):
    """What one layer becomes: target name → values, what is left out, and remarks."""

    tensors: Mapping[str, Tensor]
    dropped: tuple[Dropped, ...] = ()
    notes: tuple[str, ...] = ()


class Made(NamedTuple):
    """A layer of the graph and the target names it became."""

    layer: Layer
    names: tuple[str, ...]


@dataclass(frozen=True)
class Lowered:
    """A graph in a target's names.

    Attributes:
        tensors: target name → values, in model order.
        made: each layer with its names.
        dropped: what the target has no place for.
        notes: remarks for the report.
        facts: what the format needs to know beside the tensors.
    """

    tensors: Mapping[str, Tensor]
    made: tuple[Made, ...]
    dropped: tuple[Dropped, ...] = ()
    notes: tuple[str, ...] = ()
    facts: Facts | None = field(default=None)


def gather(parts: Iterable[tuple[Layer, Part]], facts: Facts | None = None) -> Lowered:
    """Put together what each layer became.

    Raises:
        DialectError: two parameters would get one name.
    """
    tensors: dict[str, Tensor] = {}
    made: list[Made] = []
    dropped: list[Dropped] = []
    notes: list[str] = []
    for layer, part in parts:
        for name in part.tensors:
            if name in tensors:
                raise DialectError("two parameters would get this name", tensor=name)
        tensors |= part.tensors
        made.append(Made(layer, tuple(part.tensors)))
        dropped += part.dropped
        notes += part.notes
    return Lowered(tensors, tuple(made), tuple(dropped), tuple(notes), facts)

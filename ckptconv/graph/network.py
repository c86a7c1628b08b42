"""A network: which value goes into which operation, as a source records it. No weights, no files.

Values are named; a node takes values and gives values. Its ``op`` is a row of
``ckptconv.codegen.emit.expressions`` or, with ``layer``, a module that holds parameters: a path of
the canonical graph. Data have the source's axes: where it keeps channels last, nodes move them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Shape = tuple[int | None, ...]
"""Sizes with the batch in front; None is free."""


class Size(NamedTuple):
    """A size that is known when the network runs.

    Attributes:
        op: ``axis``: of the input at ``items[0]`` of the node, the axis ``items[1]``; or ``add``,
            ``multiply``, ``floor_divide`` of items that are numbers or sizes.
    """

    op: str
    items: tuple[Any, ...]


@dataclass(frozen=True)
class Value:
    """What a node gives.

    Attributes:
        name: unique in its network.
        shape: with the batch in front.
        dtype: ``float32``, ``int32`` or ``bool``.
        mask: the name of the value (batch, time) that says which steps count, where there is one.
    """

    name: str
    shape: Shape
    dtype: str = "float32"
    mask: Value | None = None

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        op: what it does.
        inputs: names of values, in the order of the op's row.
        outputs: names of values.
        arguments: numbers, words, sizes and rows of them, by the names of the op's row.
        layer: the path of the layer whose parameters it uses.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    layer: str | None = None


@dataclass(frozen=True)
class Network:
    """A whole network.

    Attributes:
        nodes: in an order in which they can be run.
        inputs: what the user gives.
        outputs: names of values.
        states: how many of the last inputs, and of the last outputs, are states that the source
            keeps from call to call.
        title: what it was read from, for the reader of the text.
        origin: what wrote that, and what read it, in a sentence.
        notes: what is to be known of it.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[str, ...]
    title: str = ""
    origin: str = ""
    states: tuple[int, int] = (0, 0)
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    @property
    def free_length(self) -> bool:
        """Whether a size other than the batch's is free."""
        return any(n is None for value in self.inputs for n in value.shape[1:])

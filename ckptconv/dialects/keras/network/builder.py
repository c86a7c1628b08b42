"""What a reader of a configuration has at hand: values, nodes, names, and the layers' paths."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ckptconv.dialects.keras.grouping import dotted
from ckptconv.dialects.keras.model_config import Entry
from ckptconv.errors import DialectError, LossyError
from ckptconv.graph.network import Node, Shape, Value

_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})")


@dataclass(frozen=True)
class Site:
    """One call of one layer.

    Attributes:
        layer: class and settings.
        path: the names of the models around it, and its own.
        inputs: the tensors that it takes by position.
        kwargs: what it takes by name: values, or rows of them.
    """

    layer: Entry
    path: tuple[str, ...]
    inputs: tuple[Value, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def x(self) -> Value:
        if not self.inputs:
            raise DialectError("is called with nothing", tensor=self.where)
        return self.inputs[0]

    @property
    def where(self) -> str:
        return ".".join(self.path)

    def get(self, *keys: str, default: Any = None) -> Any:
        """Return the first of these settings that is there: versions call one differently."""
        return next((self.layer.config[k] for k in keys if k in self.layer.config), default)

    def refuse(self, problem: str) -> LossyError:
        return LossyError(problem, tensor=self.where)


class Builder:
    """Nodes in order; every value has a name of its own.

    Args:
        version: of the Keras that wrote the file.
        paths: of the layers that hold weights, in the file's order.
        stubs: names of layers that become functions to be written by hand.
        backend: that Keras ran on.

    Attributes:
        unmasked: values that a layer took the mask away from, for all that take them later.
    """

    def __init__(
        self,
        version: str | None,
        paths: Sequence[str],
        stubs: Sequence[str] = (),
        backend: str = "",
    ) -> None:
        match = _VERSION.match(version or "")
        self._is_told = match is not None
        self.version = (int(match[1]), int(match[2])) if match else (3, 0)
        self.tf_keras = self.version >= (2, 4) or "-tf" in (version or "")
        self.backend = backend
        self.nodes: list[Node] = []
        self.notes: list[str] = []
        self.state_inputs: list[Value] = []
        self.state_results: list[Value] = []
        self.stubs = frozenset(stubs)
        self.unmasked: set[str] = set()
        self._paths = list(paths)
        self._names: set[str] = set()
        self._hint = "x"

    def since(self, site: Site, minor: int) -> bool:
        """Tell whether a Keras 3 of at least this minor version wrote the file.

        Raises:
            LossyError: nothing names the version: ``model.to_json()`` of Keras 3 does not.
        """
        if not self._is_told:
            raise LossyError(
                f"a {site.layer.class_name} of masked values is computed otherwise since Keras "
                f"3.{minor}, and neither the weights nor the configuration name a version",
                tensor=site.where,
                expected='"keras_version" in the configuration',
                hint='"keras_version": "3.…", the version that the model was saved with, beside '
                '"class_name" in the configuration; the whole model, saved as .keras or .h5',
            )
        return self.version >= (3, minor)

    def enter(self, site: Site) -> None:
        """Name what follows after this layer."""
        self._hint = site.layer.name or "x"

    def remark(self, text: str) -> None:
        """Tell something of the whole network, once."""
        self.notes += [text] if text not in self.notes else []

    def value(self, shape: Shape, *, name: str = "", dtype: str = "float32") -> Value:
        """Return a new value."""
        wanted = name or self._hint
        unique, count = wanted, 1
        while unique in self._names:
            count += 1
            unique = f"{wanted}_{count}"
        self._names.add(unique)
        return Value(unique, shape, dtype)

    def add(
        self,
        op: str,
        inputs: Sequence[Value],
        shape: Shape | None = None,
        *,
        layer: str | None = None,
        name: str = "",
        dtype: str = "",
        **arguments: Any,
    ) -> Value:
        """Append a node with one output, by default of the first input's shape and dtype.

        A mask does not go through: ``masked`` says where it does.
        """
        if shape is None:
            shape = inputs[0].shape
        made = self.value(shape, name=name, dtype=dtype or inputs[0].dtype)
        self.nodes.append(Node(op, tuple(v.name for v in inputs), (made.name,), arguments, layer))
        return made

    def weight(self, path: str) -> Value:
        """Append a node that gives the values of a parameter that is no layer's."""
        name = path.rpartition(".")[2]
        return self.add("parameter", (), (), layer=path, name=name, dtype="float32")

    def expand(self, x: Value, axis: int, name: str = "") -> Value:
        """Append a node that gives a value one more axis, of length one."""
        shape = (*x.shape[:axis], 1, *x.shape[axis:])
        return self.add("expand", (x,), shape, name=name, axis=axis)

    def differing(self, x: Value, number: float) -> Value:
        """Return the mask of what is not this number."""
        return self.add("compare_number", (x,), name="mask", dtype="bool", by="ne", number=number)

    def add_many(
        self,
        op: str,
        inputs: Sequence[Value],
        shapes: Mapping[str, Shape],
        *,
        layer: str | None = None,
        **arguments: Any,
    ) -> list[Value]:
        """Append a node with several outputs: name → shape."""
        made = [self.value(shape, name=name) for name, shape in shapes.items()]
        names = tuple(v.name for v in made)
        self.nodes.append(Node(op, tuple(v.name for v in inputs), names, arguments, layer))
        return made

    def paths_of(self, path: Sequence[str]) -> list[str]:
        """Return the paths of the layers with weights at or below a place of the configuration."""
        wanted = dotted(tuple(path))
        return [p for p in self._paths if p == wanted or p.startswith(f"{wanted}.")]

    def path(self, site: Site) -> str:
        """Return the path of the one layer with weights of a call.

        Raises:
            DialectError: the file has none, or several.
        """
        found = self.paths_of(site.path)
        check_paths(site, found, 1, f"the weights of one {site.layer.class_name}")
        return found[0]

    def part(self, site: Site, name: str) -> str:
        """Return the path of one of the parts with weights that a layer consists of.

        Raises:
            DialectError: the file has none, or several.
        """
        found = [path for path in self.paths_of(site.path) if path.rpartition(".")[2] == name]
        check_paths(site, found, 1, f"one {name}")
        return found[0]


def check_paths(site: Site, found: Sequence[str], count: int, expected: str) -> None:
    """Raise DialectError unless a call has so many layers with weights in the file."""
    if len(found) != count:
        raise DialectError(
            "the file's weights do not fit its configuration",
            tensor=site.where,
            expected=expected,
            found=", ".join(found) or "none",
        )


def leaves(item: Any) -> Iterator[Any]:
    """Yield what stands in nested lists."""
    if isinstance(item, list | tuple):
        for one in item:
            yield from leaves(one)
    else:
        yield item


def values_in(item: Any) -> Iterator[Value]:
    """Yield the values in nested lists."""
    return (leaf for leaf in leaves(item) if isinstance(leaf, Value))


def masked(value: Value, mask: Value | None) -> Value:
    """Return a value with a mask."""
    return replace(value, mask=mask)


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """Return the shape of values that are taken together; sizes of one repeat."""
    rank = max(map(len, shapes))
    rows = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(next((n for n in sizes if n != 1), 1) for sizes in zip(*rows, strict=True))


def joined(values: Sequence[Value], axis: int) -> Shape:
    """Return the shape of values that are joined along an axis, counted from the front."""
    shape, sizes = values[0].shape, [value.shape[axis] for value in values]
    size = None if None in sizes else sum(n or 0 for n in sizes)
    return (*shape[:axis], size, *shape[axis + 1 :])


def reduced(shape: Shape, axes: Sequence[int], *, keep: bool) -> Shape:
    """Return a shape without these axes, or with ones in their places."""
    kept = [(i, n) for i, n in enumerate(shape) if keep or i not in axes]
    return tuple(1 if i in axes else n for i, n in kept)

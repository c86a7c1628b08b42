"""An exported program by name: its weights, inputs, sizes, and the values that were read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ckptconv.errors import DialectError, LossyError
from ckptconv.graph.graph import Layer
from ckptconv.graph.kinds import PARAMETER
from ckptconv.graph.network import Node, Shape, Value
from ckptconv.tensors.dtypes import is_float
from ckptconv.tensors.lazy import np

_DTYPES = {4: "int32", 5: "int64", 7: "float32", 8: "float64", 12: "bool", 6: "float16"}
_OTHERS = {1: "uint8", 2: "int8", 3: "int16", 10: "complex64", 11: "complex128", 13: "bfloat16"}
"""torch/_export/serde/schema.py, ScalarType."""
_HELD = ("parameter", "buffer", "tensor_constant")
_SHARED = ("Linear", "Embedding", *(f"InstanceNorm{n}d" for n in (1, 2, 3)))

Raw = Mapping[str, Any]
Groups = Sequence[Sequence[str]]


class Part(NamedTuple):
    """What a view looks at: places of one axis, which ``select`` leaves out of it.

    Attributes:
        of: the value that it is a part of.
        stop: None: it looks at all of the value.
    """

    of: str
    axis: int = 0
    start: int = 0
    stop: int | None = None
    is_one: bool = False


class Program:
    """What was read so far.

    Attributes:
        layers: by path, those that hold weights.
        weights: the graph's name of a parameter, buffer or constant → its path.
        counts: name of a size → its expression.
        infinite: some values hold, or may hold, minus infinity.
        zeros: values that hold zeros alone.
        tied: path of a weight → all paths of the same one.
        parts: a view → which part it looks at, where that is told in numbers.
    """

    def __init__(self, source: Raw, layers: Mapping[str, Layer], tied: Groups = ()) -> None:
        self.tied = {name: group for group in tied for name in group}
        self.layers, self.nodes = layers, list[Node]()
        self.described = source["graph"]["tensor_values"]
        self.counts = source["graph"].get("sym_int_values") or {}
        self.infinite = False
        self.zeros: set[str] = set()
        self.weights: dict[str, str] = {}
        self.inputs: list[Value] = []
        self._values: dict[str, Value] = {}
        self._made: set[str] = set()
        self._fixed: set[str] = set()
        self.parts: dict[str, Part] = {}
        self._views: dict[str, set[str]] = {}
        self._overwritten: dict[str, str] = {}
        for spec in source["signature"]["input_specs"]:
            self._input(spec)
        looked_up = (_table(node) for node in source["graph"]["nodes"])
        self._tables = {self.weights.get(name, "") for name in looked_up if name}

    def _input(self, spec: Mapping[str, Any]) -> None:
        if user := spec.get("user_input"):
            if "as_tensor" not in user["arg"]:
                return
            name = user["arg"]["as_tensor"]["name"]
            self._values[name] = Value(name, self.shape(name), self.dtype(name))
            self.inputs.append(self._values[name])
        for kind in _HELD:
            if lifted := spec.get(kind):
                name = str(lifted["arg"]["name"])
                self.weights[name] = str(lifted[f"{kind}_name"])
                self._fixed |= set() if kind == "parameter" else {name}

    def shape(self, name: str) -> Shape:
        return tuple(size.get("as_int") for size in self.described[name]["sizes"])

    def dtype(self, name: str) -> str:
        code = self.described[name]["dtype"]
        if code not in _DTYPES:
            raise LossyError(f"a tensor of {_OTHERS.get(code, f'type {code}')}")
        return _DTYPES[code]

    def value(self, name: str) -> Value:
        """Return a value; a weight that is used bare becomes one.

        Raises:
            LossyError: a value that no rule gave, or that has changed since.
        """
        if name in self._overwritten:
            raise LossyError(
                f"{self._overwritten[name]} changes numbers that another value looks at",
                hint="an operation that gives a new tensor, in the model before torch.export",
            )
        if name not in self._values:
            self._bare(name)
        return self._values[name]

    def _bare(self, name: str) -> None:
        path = self.weights.get(name)
        if path is None:
            raise LossyError("a result beside an operator's first, such as the places of a maximum")
        if place := self._shared(path):
            self.give("weight", (), [name], layer=place[0], param=place[1])
            return
        layer = self.layers.get(path)
        if layer is None and name in self._fixed:
            hint = "register_buffer in the model before torch.export"
            raise LossyError("a constant that cannot be read", tensor=path, hint=hint)
        if layer is None or layer.kind != PARAMETER:
            raise DialectError("a weight of a layer is used by itself", tensor=path)
        values = layer.params[""]
        if is_float(values.dtype):
            self.infinite |= any(np.isneginf(block).any() for block in values.blocks())
        if values.shape or "persistent" not in layer.attributes:
            self.give("parameter", (), [name], layer=path, fixed=name in self._fixed)
        else:
            value = values.numpy().item()
            self.give("full", (), [name], sizes=(), value=value, dtype=self.dtype(name))

    def _shared(self, path: str) -> tuple[str, str] | None:
        """Return (layer, parameter) of a weight that every framework's layer has as it is."""
        for owner, _, param in (name.rpartition(".") for name in self.tied.get(path, (path,))):
            layer = self.layers.get(owner)
            if owner and layer is not None and layer.kind in _SHARED and param in layer.params:
                return owner, param
        return None

    def is_table(self, name: str) -> bool:
        """Tell whether an embedding looks rows up in a weight."""
        path = self.weights.get(name, "")
        return not self._tables.isdisjoint(self.tied.get(path, (path,)))

    def view(self, name: str, made: Sequence[str]) -> None:
        """Note values that look at the same numbers."""
        group = self._views.setdefault(name, {name})
        group.update(made)
        self._views |= dict.fromkeys(made, group)

    def looked_at(self, name: str) -> str | None:
        """Return the path of the weight whose numbers a value looks at, if it does."""
        found = self._views.get(name, {name}) & self.weights.keys()
        return self.weights[min(found)] if found else None

    def overwrite(self, name: str, operator: str) -> None:
        """Note that an operator changes numbers in place: none that looked at them holds on."""
        group = self._views.get(name, {name})
        self.zeros -= group
        self._overwritten |= dict.fromkeys(group, operator)
        group.clear()

    def renew(self, changed: Mapping[str, Value]) -> None:
        """Let names of one group that were overwritten stand for what their numbers are now."""
        self._values |= changed
        for name in changed:
            self._overwritten.pop(name, None)
            self._views[name].add(name)

    def give(
        self,
        op: str,
        inputs: Sequence[Value],
        outputs: Sequence[str],
        *,
        layer: str | None = None,
        **arguments: Any,
    ) -> None:
        """Append a node."""
        for name in outputs:
            self._values[name] = Value(name, self.shape(name), self.dtype(name))
        names = tuple(value.name for value in inputs)
        self.nodes.append(Node(op, names, tuple(outputs), arguments, layer))

    def append(self, op: str, inputs: Sequence[Value], made: Value, **arguments: Any) -> Value:
        """Append a node that gives a value which the program has no name for."""
        while made.name in self._made or made.name in self.described:
            made = replace(made, name=f"{made.name}_")
        self._made.add(made.name)
        names = tuple(value.name for value in inputs)
        self.nodes.append(Node(op, names, (made.name,), arguments))
        return made

    def same(self, name: str, value: Value) -> None:
        """Let a name stand for a value that is there already."""
        self._values[name] = value


def _table(node: Raw) -> str:
    """Return the weight that an embedding looks rows up in, or ``""``."""
    if not str(node["target"]).startswith("torch.ops.aten.embedding."):
        return ""
    given = (item["arg"] for item in node["inputs"] if item["name"] == "weight")
    return next((str(arg["as_tensor"]["name"]) for arg in given), "")

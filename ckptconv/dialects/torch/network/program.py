"""An exported program by name: its weights, inputs, sizes and operators' arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ckptconv.errors import DialectError, LossyError
from ckptconv.graph.graph import Layer
from ckptconv.graph.kinds import PARAMETER
from ckptconv.graph.network import Node, Shape, Value

_DTYPES = {4: "int32", 5: "int64", 7: "float32", 8: "float64", 12: "bool", 6: "float16"}
_WHOLE = 1 << 62
_CONVERTED = ("float32", "int64", "int32")
_SCALARS = ("as_int", "as_float", "as_bool", "as_string", "as_ints", "as_floats", "as_bools")

Raw = Mapping[str, Any]
Groups = Sequence[Sequence[str]]


class Program:
    """What was read so far.

    Attributes:
        layers: by path, those that hold weights.
        weights: the graph's name of a parameter or buffer → its path.
        sizes: name of a symbolic size → (tensor, axis).
        zeros: values that hold zeros alone.
        tied: path of a weight → all paths of the same one.
    """

    def __init__(self, source: Raw, layers: Mapping[str, Layer], tied: Groups = ()) -> None:
        self.tied = {name: group for group in tied for name in group}
        self.layers, self.nodes = layers, list[Node]()
        self.described = source["graph"]["tensor_values"]
        self.sizes: dict[str, tuple[str, int]] = {}
        self.zeros: set[str] = set()
        self.weights: dict[str, str] = {}
        self.inputs: list[Value] = []
        self._values: dict[str, Value] = {}
        self._constants: set[str] = set()
        self._views: dict[str, set[str]] = {}
        self._overwritten: dict[str, str] = {}
        for spec in source["signature"]["input_specs"]:
            self._input(spec)

    def _input(self, spec: Mapping[str, Any]) -> None:
        if user := spec.get("user_input"):
            if "as_tensor" not in user["arg"]:
                return
            name = user["arg"]["as_tensor"]["name"]
            self._values[name] = Value(name, self.shape(name), self.dtype(name))
            self.inputs.append(self._values[name])
        elif lifted := spec.get("parameter") or spec.get("buffer"):
            path = lifted.get("parameter_name") or lifted.get("buffer_name")
            self.weights[lifted["arg"]["name"]] = str(path)
        elif constant := spec.get("tensor_constant"):
            self._constants.add(str(constant["arg"]["name"]))

    def shape(self, name: str) -> Shape:
        return tuple(size.get("as_int") for size in self.described[name]["sizes"])

    def dtype(self, name: str) -> str:
        code = self.described[name]["dtype"]
        if code not in _DTYPES:
            raise LossyError(f"a tensor of type {code}")
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
        if name in self._constants:
            hint = "register_buffer in the model before torch.export"
            raise LossyError("a constant that stands in the model's code", hint=hint)
        if path is None:
            raise LossyError("a result beside an operator's first, such as the places of a maximum")
        layer = self.layers.get(path)
        if layer is None or layer.kind != PARAMETER:
            raise DialectError("a weight of a layer is used by itself", tensor=path)
        self.give("parameter", (), [name], layer=path)

    def view(self, name: str, made: Sequence[str]) -> None:
        """Note values that look at the same numbers."""
        group = self._views.setdefault(name, {name})
        group.update(made)
        self._views |= dict.fromkeys(made, group)

    def overwrite(self, name: str, operator: str) -> None:
        """Note that an operator changes numbers in place: none that looked at them holds on."""
        self._overwritten |= dict.fromkeys(self._views.get(name, {name}), operator)

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

    def same(self, name: str, value: Value) -> None:
        """Let a name stand for a value that is there already."""
        self._values[name] = value


class Operator:
    """One call of an aten operator."""

    def __init__(self, program: Program, raw: Mapping[str, Any]) -> None:
        self.program, self.raw = program, raw
        self.name = str(raw["target"]).removeprefix("torch.ops.aten.").partition(".")[0]
        self.overload = str(raw["target"]).rpartition(".")[2]
        self.given = {item["name"]: item["arg"] for item in raw["inputs"]}
        stack = str(raw["metadata"].get("nn_module_stack", "")).split(";")[-1].split(",")
        self.place = stack[1] if len(stack) == 3 and not stack[1].startswith("_") else ""

    @property
    def outputs(self) -> list[str]:
        """The names of the tensors that it gives."""
        found = []
        for item in self.raw["outputs"]:
            found += [one["name"] for one in item.get("as_tensors") or []]
            found += [item["as_tensor"]["name"]] if item.get("as_tensor") else []
        return found

    @property
    def is_in_place(self) -> bool:
        """Whether it writes its result over what it takes, as aten's names say: ``relu_``."""
        return self.name.endswith("_") and not self.name.startswith("_")

    @property
    def shape(self) -> Shape:
        return self.program.shape(self.outputs[0])

    @property
    def dtype(self) -> str:
        """The dtype of what it gives.

        Raises:
            LossyError: one that nothing is converted to.
        """
        dtype = self.program.dtype(self.outputs[0])
        if dtype not in _CONVERTED:
            raise self.refuse(f"a conversion to {dtype}")
        return dtype

    def typed(self, given: Value | None = None) -> Value:
        """Return what it takes, in the dtype that it gives and so computes in."""
        x = given or self.tensor("self")
        same = x.dtype == self.program.dtype(self.outputs[0])
        return x if same else self.between("convert", x, dtype=self.dtype)

    def tensor_name(self, key: str) -> str:
        if not self.has_tensor(key):
            raise self.refuse(f"no tensor as {key}")
        return str(self.given[key]["as_tensor"]["name"])

    def tensor(self, key: str) -> Value:
        return self.program.value(self.tensor_name(key))

    def has_tensor(self, key: str) -> bool:
        return bool(self.given.get(key, {}).get("as_tensor"))

    def tensor_names(self, key: str) -> list[str]:
        return [str(one["name"]) for one in self.given[key]["as_tensors"]]

    def get(self, key: str, default: Any = None) -> Any:
        """Return a plain argument.

        Raises:
            LossyError: it is computed from sizes.
        """
        arg = self.given.get(key)
        if arg is None or arg.get("as_none"):
            return default
        for kind in _SCALARS:
            if kind in arg:
                value = float(arg[kind]) if kind == "as_float" else arg[kind]  # "Infinity"
                return None if isinstance(value, int) and abs(value) >= _WHOLE else value
        if "as_sym_int" in arg and "as_int" in arg["as_sym_int"]:
            return arg["as_sym_int"]["as_int"]
        if "as_sym_ints" in arg and all("as_int" in one for one in arg["as_sym_ints"]):
            return [one["as_int"] for one in arg["as_sym_ints"]]
        if self.has_tensor(key):
            raise self.refuse(f"{key} that is a tensor")
        raise self.refuse(f"{key} that depends on the input's size")

    def sizes(self, key: str, rank: int, usual: Sequence[int]) -> list[int]:
        """Return a row of sizes, one for each axis."""
        row = list(self.get(key) or usual)
        return row * (rank if len(row) == 1 else 1)

    def axis(self, key: str = "dim", default: int | None = None) -> int:
        axis, size = self.get(key, default), self.tensor("self").rank
        if type(axis) is not int or not -size <= axis < size:
            raise self.refuse(f"{key} that is no axis")
        return axis % size

    def give(self, op: str, *inputs: Value, layer: str | None = None, **arguments: Any) -> None:
        self.program.give(op, inputs, self.outputs, layer=layer, **arguments)

    def between(self, op: str, given: Value, **arguments: Any) -> Value:
        """Append a node that stands before this operator's, and return what it gives."""
        name = f"{self.outputs[0]}_{given.name}_{op}"
        made = Value(name, (None,) * given.rank, str(arguments.get("dtype", given.dtype)))
        self.program.nodes.append(Node(op, (given.name,), (name,), arguments))
        return made

    def refuse(self, problem: str) -> LossyError:
        return LossyError(f"{self.name} with {problem}", tensor=self.place or None)


def number(o: Operator, key: str, default: float | None = None) -> float:
    """Return an argument that is a number.

    Raises:
        LossyError: it is something else.
    """
    value = o.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e30:
        raise o.refuse(f"{key} that is no number")
    return value

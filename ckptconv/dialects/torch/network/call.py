"""One call of an aten operator: what it takes, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ckptconv.dialects.torch.network.program import Program
from ckptconv.errors import LossyError
from ckptconv.graph.network import Shape, Value

_WHOLE = 1 << 62
_CONVERTED = ("float32", "int64", "int32")
_SCALARS = ("as_int", "as_float", "as_bool", "as_string", "as_ints", "as_floats", "as_bools")
LARGEST = 3.4028234663852886e38
"""Of finite float32."""
_OF_NO_VALUE = frozenset(
    (
        *("device", "layout", "pin_memory", "memory_format", "non_blocking", "copy", "implicit"),
        *("cudnn_enable", "cudnn_enabled", "generator"),
        *("momentum", "padding_idx", "scale_grad_by_freq", "sparse"),  # of training
        "dtype",  # stands in what is given
    )
)
"""Arguments that change no value."""


class _Given(dict[str, Any]):
    """What an operator takes, by name; ``asked`` notes what its rule looked at."""

    def __init__(self, items: Mapping[str, Any]) -> None:
        super().__init__(items)
        self.asked = set[str]()

    def __getitem__(self, key: str) -> Any:
        self.asked.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


class Operator:
    """One call of an aten operator.

    Attributes:
        called: its name, as in ``relu_``.
        is_in_place: it writes its result over what it takes, as that name says.
        name: the name of what it computes, ``relu``.
    """

    def __init__(self, program: Program, raw: Mapping[str, Any]) -> None:
        self.program, self.raw = program, raw
        self.called = _called(str(raw["target"]))
        self.is_in_place = self.called.endswith("_") and not self.called.startswith("_")
        self.name = self.called.removesuffix("_") if self.is_in_place else self.called
        self.overload = str(raw["target"]).rpartition(".")[2]
        self.given = _Given({item["name"]: item["arg"] for item in raw["inputs"]})
        stack = str(raw["metadata"].get("nn_module_stack", "")).split(";")[-1].split(",")
        self.place = stack[1] if len(stack) == 3 and not stack[1].startswith("_") else ""

    def rest_is_told(self) -> None:
        """Note that the sizes of what it gives tell all that its rule does not ask for."""
        self.given.asked |= self.given.keys()

    def require_asked(self) -> None:
        """Refuse an argument that its rule did not look at.

        Raises:
            LossyError: such as the decimals of ``round``.
        """
        rest = self.given.keys() - self.given.asked - _OF_NO_VALUE
        for key in sorted(rest):
            if not self.given[key].get("as_none"):
                raise self.refuse(f"the argument {key}")

    @property
    def outputs(self) -> list[str]:
        """The names of the tensors that it gives."""
        found = []
        for item in self.raw["outputs"]:
            found += [one["name"] for one in item.get("as_tensors") or []]
            found += [item["as_tensor"]["name"]] if item.get("as_tensor") else []
        return found

    @property
    def shape(self) -> Shape:
        return self.program.shape(self.outputs[0])

    @property
    def gives_whole(self) -> bool:
        return "int" in self.program.dtype(self.outputs[0])

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

    def between(
        self, op: str, given: Value, *others: Value, shape: Shape | None = None, **arguments: Any
    ) -> Value:
        """Append a node that stands before this operator's, and return what it gives.

        It has the rank of the first value where ``shape`` does not tell, and its dtype where
        ``dtype`` says no other.
        """
        name, shape = f"{self.outputs[0]}_{given.name}_{op}", shape or (None,) * given.rank
        made = Value(name, shape, str(arguments.get("dtype", given.dtype)))
        return self.program.append(op, (given, *others), made, **arguments)

    def refuse(self, problem: str) -> LossyError:
        return LossyError(f"{self.called} with {problem}", tensor=self.place or None)


def _called(target: str) -> str:
    """Return an operator without its overload, and without the namespace that most are of."""
    space, _, rest = target.removeprefix("torch.ops.").partition(".")
    name = rest.partition(".")[0]
    return name if space == "aten" else f"{space}.{name}"


Rule = Callable[[Operator], None]
"""What writes an operator's nodes."""


def number(o: Operator, key: str, default: float | None = None) -> float:
    """Return an argument that is a number.

    Raises:
        LossyError: it is something else.
    """
    value = o.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise o.refuse(f"{key} that is no number")
    return value

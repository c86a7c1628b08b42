"""aten operators that make values of sizes alone: zeros, ones, whole numbers in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ckptconv.dialects.torch.network.call import Operator, Rule
from ckptconv.dialects.torch.network.masks import filling
from ckptconv.dialects.torch.network.sizes import Extent, extents
from ckptconv.graph.network import Size, Value

_HELD = ("float32", "int32", "int64", "bool")


def _full(number: float | None) -> Rule:
    """Take an operator that gives this number everywhere, or its own."""

    def rule(o: Operator) -> None:
        value: Any = number
        if value is None:
            said = o.get("fill_value")
            value = said if isinstance(said, bool) else filling(o, "fill_value")
        if value == 0:  # most are first states, which layers have by themselves
            o.program.zeros.add(o.outputs[0])
        dtype = o.program.dtype(o.outputs[0])
        if dtype not in _HELD:
            raise o.refuse(f"numbers of {dtype}")
        if o.name.endswith("_like"):
            o.give("full_as", o.tensor("self"), value=value, dtype=dtype)
        else:
            given: list[Value] = []
            sizes = extents(o, given)
            o.give("full", *given, sizes=sizes, value=value, dtype=dtype)

    return rule


def _arange(o: Operator) -> None:
    start, step = (o.get(key, usual) for key, usual in (("start", 0), ("step", 1)))
    if any(n != int(n) for n in (start, step)):
        raise o.refuse("steps that are no whole numbers")
    given: list[Value] = []
    (size,) = extents(o, given)
    x = _steps(o, size, given)
    x = o.between("multiply_number", x, number=int(step)) if step != 1 else x
    x = o.between("add_number", x, number=int(start)) if start else x
    dtype = o.program.dtype(o.outputs[0])
    o.program.same(o.outputs[0], x if dtype == x.dtype else o.between("convert", x, dtype=o.dtype))


def _steps(o: Operator, size: Extent, given: list[Value]) -> Value:
    name = f"{o.outputs[0]}_steps"
    return o.program.append("steps", given, Value(name, _known((size,)), "int64"), size=size)


def _known(sizes: tuple[Extent, ...]) -> tuple[int | None, ...]:
    return tuple(None if isinstance(n, Size) else n for n in sizes)


def _triangle(o: Operator) -> None:
    o.give(o.name, o.tensor("self"), diagonal=int(o.get("diagonal", 0)))


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("zeros", "new_zeros", "zeros_like"), _full(0)),
    **dict.fromkeys(("ones", "new_ones", "ones_like"), _full(1)),
    **dict.fromkeys(("full", "new_full", "full_like"), _full(None)),
    **{"arange": _arange, "tril": _triangle, "triu": _triangle},
}

"""Sizes that are free: a program records each as an expression of the sizes of its inputs' axes."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from ckptconv.dialects.torch.network.call import Operator, number
from ckptconv.errors import LossyError
from ckptconv.graph.network import Size, Value

Extent = int | Size
_JOINED = {"Add": "add", "Mul": "multiply", "FloorDiv": "floor_divide"}
_LONGEST = 1000


def extents(o: Operator, given: list[Value]) -> tuple[Extent, ...]:
    """Return the sizes of what an operator gives.

    Args:
        given: what the operator's node takes; inputs that only a size needs are added.

    Raises:
        LossyError: a size that comes of no input's, such as a count of what is masked.
    """
    o.rest_is_told()
    sizes = o.program.described[o.outputs[0]]["sizes"]
    return tuple(extent(o, size, given) for size in sizes)


def reshaped(o: Operator, given: list[Value]) -> tuple[Extent, ...]:
    """Return the sizes of what an operator gives: -1 where one alone is free."""
    o.rest_is_told()
    sizes = o.program.described[o.outputs[0]]["sizes"]
    if sum("as_int" not in size for size in sizes) > 1:
        return extents(o, given)
    return tuple(size.get("as_int", -1) for size in sizes)


def row(o: Operator, key: str, given: list[Value]) -> tuple[Extent, ...]:
    """Return an argument that is a row of sizes; see ``extents``."""
    items = o.given[key].get("as_sym_ints")
    if items is None:
        return tuple(o.get(key))
    return tuple(extent(o, item, given) for item in items)


def single(o: Operator, key: str, given: list[Value]) -> Any:
    """Return a plain argument, which may be a size; see ``extents``."""
    item = o.given.get(key, {}).get("as_sym_int")
    return o.get(key) if item is None else extent(o, item, given)


def number_or_size(o: Operator, key: str, given: list[Value]) -> float | Size:
    found = single(o, key, given)
    return found if isinstance(found, Size) else number(o, key)


def extent(o: Operator, raw: Mapping[str, Any], given: list[Value]) -> Extent:
    if "as_name" in raw:
        raw = o.program.counts[raw["as_name"]]
    if "as_int" in raw:
        return int(raw["as_int"])
    text = str(raw["as_expr"]["expr_str"])
    try:
        return _read(o, ast.parse(text[:_LONGEST], mode="eval").body, given)
    except (SyntaxError, RecursionError, MemoryError):
        raise _computed(o) from None


def _read(o: Operator, node: ast.AST, given: list[Value]) -> Extent:
    match node:
        case ast.Call(func=ast.Name(id="Integer"), args=[whole]):
            return int(ast.literal_eval(whole))
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(symbol)), *_]):
            return _axis(o, symbol, given)
        case ast.Call(func=ast.Name(id=name), args=items) if name in _JOINED:
            found = [_read(o, item, given) for item in items]
            if name != "FloorDiv":  # sums begin with what is no number
                found.sort(key=lambda item: isinstance(item, int))
            return Size(_JOINED[name], tuple(found))
    raise _computed(o)


def _axis(o: Operator, symbol: str, given: list[Value]) -> Size:
    """Return which axis of an input has a size.

    Not of what is computed: compiled, MindSpore takes an axis that a reshape left to be found (-1)
    for another, where two sizes are one.
    """
    for value in o.program.inputs:
        sizes = o.program.described.get(value.name, {"sizes": []})["sizes"]
        for axis, size in enumerate(sizes):
            if str(size.get("as_expr", {}).get("expr_str")).startswith(f"Symbol('{symbol}',"):
                if value not in given:
                    given.append(value)
                return Size("axis", (given.index(value), axis))
    raise _computed(o)


def _computed(o: Operator) -> LossyError:
    return o.refuse("sizes that are computed")

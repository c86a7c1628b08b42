"""Operations of Keras 3 that stand between layers: ``x + y``, ``x[:, 0]``, and masks' own.

A functional model of Keras 3 records them like layers, of the module ``keras.src.ops``; a layer
that takes a mask records which value it is. No operation hands a mask on, except ConvertToTensor,
which gives what it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ckptconv.dialects.keras.network import promotion, shaping_ops
from ckptconv.dialects.keras.network.builder import (
    Builder,
    Site,
    broadcast,
    joined,
    masked,
    reduced,
)
from ckptconv.dialects.keras.network.shaping_ops import number
from ckptconv.dialects.keras.network.structure import WHOLE, moved
from ckptconv.errors import LossyError
from ckptconv.graph.network import Value

PREFIX = "ops."
_PAIRS = {"Add": "add", "Subtract": "subtract", "Multiply": "multiply", "Divide": "divide",
          "TrueDivide": "divide", "Maximum": "maximum", "Minimum": "minimum",
          "LogicalOr": "logical_or", "LogicalAnd": "logical_and", "Matmul": "matmul"}  # fmt: skip
_EXTREMES = ("maximum", "minimum")
_WITH_NUMBERS = ("add", "subtract", "multiply", "divide")
_OF_WHOLE = ("Absolute", "Negative", "Square", "Relu")
"""Functions of whole numbers that are whole."""
_ONE = {"Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Exp": "exp", "Sqrt": "sqrt",
        "Absolute": "abs", "Negative": "negative", "Square": "square", "Log": "log",
        "Rsqrt": "rsqrt", "Sin": "sin", "Cos": "cos", "Silu": "silu", "Softplus": "softplus",
        "Softsign": "softsign", "Relu6": "relu6", "HardSigmoid": "hard_sigmoid"}  # fmt: skip


def _pair(b: Builder, site: Site) -> list[Value]:
    op = _PAIRS[site.layer.class_name.removeprefix(PREFIX)]
    values: list[Value] = [value for value in site.kwargs["args"] if isinstance(value, Value)]
    if len(values) == 1:
        given = _number(site)
        if op not in _WITH_NUMBERS:
            raise site.refuse(f"{op} of a value and a number")
        before = not isinstance(site.kwargs["args"][0], Value)
        x = promotion.numbers(b, values[0])
        dtype = promotion.FLOAT if op == "divide" else promotion.with_number(x.dtype, given)
        name = f"number_{op}" if before else f"{op}_number"
        return [b.add(name, (x,), dtype=dtype, number=given)]
    if op == "subtract":
        values = [promotion.numbers(b, value) for value in values]
    elif op in _EXTREMES and all(value.dtype == "bool" for value in values):
        raise site.refuse(f"the {op} of bools")
    first, second = values
    product = (*first.shape[:-1], second.shape[-1])
    shape = product if op == "matmul" else broadcast([first.shape, second.shape])
    dtype = promotion.FLOAT if op == "divide" else promotion.common((first.dtype, second.dtype))
    return [b.add(op, values, shape, dtype=dtype)]


def _number(site: Site) -> float:
    return number(site, next((v for v in site.kwargs["args"] if not isinstance(v, Value)), None))


def _one(b: Builder, site: Site) -> list[Value]:
    name = site.layer.class_name.removeprefix(PREFIX)
    x = promotion.numbers(b, site.x) if name in _OF_WHOLE else promotion.floats(b, site.x)
    return [b.add(_ONE[name], (x,))]


def _not_equal(b: Builder, site: Site) -> list[Value]:
    return [b.differing(site.x, _number(site))]


def _any(b: Builder, site: Site) -> list[Value]:
    if site.get("axis") != -1 or site.get("keepdims"):
        raise site.refuse("any over an axis that is not the last")
    return [b.add("any", (site.x,), site.x.shape[:-1], name="mask", dtype="bool", axes=(-1,))]


def _expand(b: Builder, site: Site) -> list[Value]:
    axis, x = site.get("axis"), site.x
    if type(axis) is not int or not -x.rank - 1 <= axis <= x.rank:
        raise site.refuse("an axis that is none")
    return [b.expand(x, axis % (x.rank + 1))]


def _like(value: bool) -> Callable[[Builder, Site], list[Value]]:
    def rule(b: Builder, site: Site) -> list[Value]:
        if site.get("dtype") != "bool":
            raise site.refuse("zeros or ones that are no mask")
        return [b.add("ones_like" if value else "zeros_like", (site.x,), dtype="bool")]

    return rule


def _concatenate(b: Builder, site: Site) -> list[Value]:
    axis, values = site.get("axis", default=-1), site.inputs
    if type(axis) is not int or not -values[0].rank <= axis < values[0].rank:
        raise site.refuse("an axis that is none")
    shape = joined(values, axis % values[0].rank)
    return [b.add("concat", promotion.alike(b, values), shape, axis=axis)]


_ELLIPSIS = {"class_name": "__ellipsis__", "config": {}}
_WHOLE_AXIS = {"class_name": "__slice__", "config": {}}


def _get_item(b: Builder, site: Site) -> list[Value]:
    items = site.kwargs["args"][1:]
    key: Any = items[0] if len(items) == 1 else items
    rows = _every_axis(key if isinstance(key, list) else [key], site.x.rank)
    x, sizes = site.x, iter(site.x.shape)
    shape: list[int | None] = []
    cuts: list[Any] = []
    added: list[int] = []
    if len(rows) - rows.count(None) > x.rank:
        raise site.refuse("an index of too many axes")
    for row in rows:
        if row is None:
            added.append(len(shape) + len(added))
            continue
        size = next(sizes)
        cuts.append(row if type(row) is int else _slice(site, row))
        if type(row) is not int:
            shape.append(None if size is None else len(range(size)[slice(*cuts[-1])]))
    if added[:1] == [0] or cuts[:1] not in ([], [WHOLE]):
        raise site.refuse("an index along the batch")
    while cuts and cuts[-1] == WHOLE:
        cuts.pop()
    made = b.add("index", (x,), (*shape, *sizes), cuts=tuple(cuts)) if cuts else masked(x, None)
    for axis in added:
        made = b.expand(made, axis)
    return [made]


def _every_axis(rows: list[Any], rank: int) -> list[Any]:
    """Return an index with whole axes for its ellipsis."""
    if _ELLIPSIS not in rows:
        return rows
    at, taken = rows.index(_ELLIPSIS), len(rows) - rows.count(None) - 1
    return [*rows[:at], *[_WHOLE_AXIS] * (rank - taken), *rows[at + 1 :]]


def _slice(site: Site, row: Any) -> tuple[int | None, int | None, int | None]:
    if not isinstance(row, dict) or row.get("class_name") != "__slice__":
        raise site.refuse("an index that is no number and no slice")
    config = row.get("config") or {}
    found = tuple(config.get(key) for key in ("start", "stop", "step"))
    if any(n is not None and type(n) is not int for n in found) or (found[2] or 1) < 1:
        raise site.refuse("a slice of something else than numbers")
    return found[0], found[1], None if found[2] == 1 else found[2]


def _reduce(op: str) -> Callable[[Builder, Site], list[Value]]:
    def rule(b: Builder, site: Site) -> list[Value]:
        x = promotion.floats(b, site.x) if op == "mean" else site.x
        axis = site.get("axis")
        axes = axis if isinstance(axis, list) else [axis]
        if not axes or not all(type(n) is int and -x.rank <= n < x.rank for n in axes):
            raise LossyError("a reduction over all axes", tensor=site.where)
        axes = sorted(n % x.rank for n in axes)
        if op in ("amax", "amin") and x.dtype == "bool":
            raise site.refuse("an extreme of bools")
        keep = bool(site.get("keepdims"))
        shape = reduced(x.shape, axes, keep=keep)
        return [b.add(op, (x,), shape, axes=tuple(axes), keep=keep)]

    return rule


def _transpose(b: Builder, site: Site) -> list[Value]:
    axes = site.get("axes")
    if not isinstance(axes, list) or sorted(axes) != list(range(site.x.rank)) or axes[0]:
        raise site.refuse("a transposition of the batch")
    return [moved(b, site.x, tuple(axes))]


def _converted(_: Builder, site: Site) -> list[Value]:
    if site.get("dtype") not in (None, site.x.dtype):
        raise site.refuse(f"a conversion to {site.get('dtype')}"[:100])
    return [site.x]


_Rule = Callable[[Builder, Site], list[Value]]
_REDUCED = ("axis", "keepdims")
_RULES: Mapping[str, tuple[_Rule, tuple[str, ...]]] = {
    # operation: its rule, and the settings that it reads
    **dict.fromkeys(_PAIRS, (_pair, ())),
    **dict.fromkeys(_ONE, (_one, ())),
    "NotEqual": (_not_equal, ()),
    "Any": (_any, _REDUCED),
    "ExpandDims": (_expand, ("axis",)),
    "ZerosLike": (_like(False), ("dtype",)),
    "OnesLike": (_like(True), ("dtype",)),
    "Concatenate": (_concatenate, ("axis",)),
    "ConvertToTensor": (_converted, ("dtype",)),
    "GetItem": (_get_item, ()),
    "Transpose": (_transpose, ("axes",)),
    "Mean": (_reduce("mean"), _REDUCED),
    "Sum": (_reduce("sum"), _REDUCED),
    "Max": (_reduce("amax"), _REDUCED),
    "Min": (_reduce("amin"), _REDUCED),
    **shaping_ops.RULES,
}


def _operation(b: Builder, site: Site) -> list[Value]:
    rule, known = _RULES[site.layer.class_name.removeprefix(PREFIX)]
    for key, value in site.layer.config.items():
        if key not in ("name", *known) and value is not None:
            raise site.refuse(f"an operation with {key}={value!r}"[:100])
    return rule(b, site)


RULES = dict.fromkeys((f"{PREFIX}{name}" for name in _RULES), _operation)

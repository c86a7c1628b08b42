"""Operations of Keras 3 that stand between layers: ``x + y``, ``x[:, 0]``, and masks' own.

A functional model of Keras 3 records them like layers, of the module ``keras.src.ops``; a layer
that takes a mask records which value it is. No operation hands a mask on, except a conversion to
the dtype that a value has already, which gives what it takes.
"""

from __future__ import annotations

from typing import Any

from ckptconv.dialects.keras.network import (
    choosing_ops,
    function_ops,
    promotion,
    reduction_ops,
    shaping_ops,
)
from ckptconv.dialects.keras.network.builder import Builder, Site, broadcast, masked
from ckptconv.dialects.keras.network.constants import with_constants
from ckptconv.dialects.keras.network.operation import PREFIX, Rules, name_of, number
from ckptconv.dialects.keras.network.structure import WHOLE
from ckptconv.graph.network import Value

_PAIRS = {"Add": "add", "Subtract": "subtract", "Multiply": "multiply", "Divide": "divide",
          "TrueDivide": "divide"}  # fmt: skip


def _pair(b: Builder, site: Site) -> list[Value]:
    op = _PAIRS[name_of(site)]
    values: list[Value] = [value for value in site.kwargs["args"] if isinstance(value, Value)]
    if len(site.kwargs["args"]) != 2:
        raise site.refuse("other than two values")
    if len(values) == 1:
        given = number(site, next(v for v in site.kwargs["args"] if not isinstance(v, Value)))
        before = not isinstance(site.kwargs["args"][0], Value)
        x = promotion.numbers(b, values[0])
        dtype = promotion.FLOAT if op == "divide" else promotion.with_number(x.dtype, given)
        name = f"number_{op}" if before else f"{op}_number"
        return [b.add(name, (x,), dtype=dtype, number=given)]
    if op == "subtract":
        values = [promotion.numbers(b, value) for value in values]
    shape = broadcast([value.shape for value in values])
    dtypes = [value.dtype for value in values]
    dtype = promotion.FLOAT if op == "divide" else promotion.common(dtypes)
    return [b.add(op, values, shape, dtype=dtype)]


def _matmul(b: Builder, site: Site) -> list[Value]:
    one, other = promotion.alike(b, site.kwargs["args"])
    if one.dtype == "bool":
        raise site.refuse("the matmul of bools")
    if min(one.rank, other.rank) < 2 or (site.x is site.kwargs["args"][1] and other.rank == 2):
        raise site.refuse("the matmul of a vector, or along the batch")
    rows = broadcast([one.shape[:-2], other.shape[:-2]])
    return [b.add("matmul", (one, other), (*rows, one.shape[-2], other.shape[-1]))]


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


_RULES: Rules = {
    **dict.fromkeys(_PAIRS, (_pair, ())),
    "Matmul": (_matmul, ()),
    "GetItem": (_get_item, ()),
    **choosing_ops.RULES,
    **function_ops.RULES,
    **reduction_ops.RULES,
    **shaping_ops.RULES,
}


def _operation(b: Builder, site: Site) -> list[Value]:
    rule, known = _RULES[name_of(site)]
    for key, value in site.layer.config.items():
        if key not in ("name", *known) and value is not None:
            raise site.refuse(f"an operation with {key}={value!r}"[:100])
    return rule(b, with_constants(b, site) if name_of(site) != "GetItem" else site)


RULES = dict.fromkeys((f"{PREFIX}{name}" for name in _RULES), _operation)

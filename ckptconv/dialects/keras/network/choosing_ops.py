"""Operations of Keras 3 that compare numbers, bound them or choose among them."""

from __future__ import annotations

from ckptconv.dialects.keras.network.builder import Builder, Site, broadcast
from ckptconv.dialects.keras.network.operation import Rule, Rules, name_of, number, truth
from ckptconv.dialects.keras.network.promotion import common, converted, numbers, with_number
from ckptconv.graph.network import Value

_COMPARED = {"Greater": "gt", "GreaterEqual": "ge", "Less": "lt", "LessEqual": "le",
             "Equal": "eq", "NotEqual": "ne"}  # fmt: skip
_LOGICAL = {"LogicalAnd": "logical_and", "LogicalOr": "logical_or"}
_MIRRORED = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge", "eq": "eq", "ne": "ne"}


def _compare(b: Builder, site: Site) -> list[Value]:
    one, other = site.kwargs["args"]
    by = _COMPARED[name_of(site)]
    if isinstance(one, Value) and isinstance(other, Value):
        shape = broadcast([one.shape, other.shape])
        return [b.add("compare", (one, other), shape, dtype="bool", by=by)]
    if not isinstance(one, Value):
        one, other, by = other, one, _MIRRORED[by]
    limit = number(site, other)
    return [b.add("compare_number", (one,), dtype="bool", by=by, number=limit)]


def _logical(b: Builder, site: Site) -> list[Value]:
    values = [truth(b, site, value) for value in site.kwargs["args"]]
    shape = broadcast([value.shape for value in values])
    return [b.add(_LOGICAL[name_of(site)], values, shape)]


def _not(b: Builder, site: Site) -> list[Value]:
    return [b.add("logical_not", (truth(b, site, site.x),))]


def _clip(b: Builder, site: Site) -> list[Value]:
    low, high = (number(site, site.get(key)) for key in ("x_min", "x_max"))
    x = numbers(b, site.x)
    dtype = with_number(with_number(x.dtype, low), high)
    return [b.add("clip", (converted(b, x, dtype),), low=low, high=high)]


def _extreme(op: str) -> Rule:
    """The larger or the smaller of two values, or a bound."""

    def rule(b: Builder, site: Site) -> list[Value]:
        values = [value for value in site.kwargs["args"] if isinstance(value, Value)]
        if len(values) == 2:
            if all(value.dtype == "bool" for value in values):
                raise site.refuse(f"the {op} of bools")
            shape = broadcast([value.shape for value in values])
            dtype = common(value.dtype for value in values)
            return [b.add(op, values, shape, dtype=dtype)]
        bound = number(site, next(v for v in site.kwargs["args"] if not isinstance(v, Value)))
        x = numbers(b, values[0])
        x = converted(b, x, with_number(x.dtype, bound))
        low, high = (bound, None) if op == "maximum" else (None, bound)
        return [b.add("clip", (x,), low=low, high=high)]

    return rule


def _where(b: Builder, site: Site) -> list[Value]:
    if len(site.kwargs["args"]) != 3:
        raise site.refuse("nothing to choose among")
    condition, *choices = site.kwargs["args"]
    condition = truth(b, site, condition)
    values = [value for value in choices if isinstance(value, Value)]
    if len(values) == 2:
        shape = broadcast([value.shape for value in (condition, *values)])
        dtype = common(value.dtype for value in values)
        return [b.add("where", (condition, *values), shape, dtype=dtype)]
    if not values:
        raise site.refuse("two numbers to choose among")
    if choices[0] is not values[0]:
        condition = b.add("logical_not", (condition,))
    other = number(site, next(value for value in choices if not isinstance(value, Value)))
    x = numbers(b, values[0])
    x = converted(b, x, with_number(x.dtype, other))
    shape = broadcast([condition.shape, x.shape])
    return [b.add("where_number", (condition, x), shape, dtype=x.dtype, number=other)]


RULES: Rules = {
    **dict.fromkeys(_COMPARED, (_compare, ())),
    **dict.fromkeys(_LOGICAL, (_logical, ())),
    "LogicalNot": (_not, ()),
    "Where": (_where, ()),
    "Clip": (_clip, ("x_min", "x_max")),
    "Maximum": (_extreme("maximum"), ()),
    "Minimum": (_extreme("minimum"), ()),
}

"""Layers that join values: Add and its like, Concatenate, Dot; and what becomes of their masks."""

from __future__ import annotations

from collections.abc import Sequence

from ckptconv.dialects.keras.network.builder import Builder, Site, broadcast, joined, masked
from ckptconv.dialects.keras.network.promotion import FLOAT, alike, common, numbers
from ckptconv.dialects.keras.network.structure import moved
from ckptconv.errors import DialectError
from ckptconv.graph.network import Value

_PAIRWISE = {"Add": "add", "Multiply": "multiply", "Maximum": "maximum", "Minimum": "minimum"}
_OTHERWISE_MASKED = ("Multiply", "Maximum", "Minimum")
_KERAS_1 = {"sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum",
            "concat": "Concatenate"}  # fmt: skip


def merge(b: Builder, site: Site) -> list[Value]:
    """Add, Multiply, Average, Maximum, Minimum."""
    name = site.layer.class_name
    masks = any(value.mask for value in site.inputs)
    if name in _OTHERWISE_MASKED and masks and b.since(site, 4):
        return [_of_counted(b, site)]
    values = _of_one_rank(b, site.inputs)
    made = values[0]
    for value in values[1:]:
        shape = broadcast([made.shape, value.shape])
        dtype = common((made.dtype, value.dtype))
        made = b.add(_PAIRWISE.get(name, "add"), (made, value), shape, dtype=dtype)
    if name == "Average":
        made = b.add("divide_number", (made,), dtype=FLOAT, number=len(values))
    return [masked(made, _joined_mask(b, site.inputs))]


def _of_counted(b: Builder, site: Site) -> Value:
    """Leave out what masks leave out: ones of a product, the other value of a maximum."""
    op, values = _PAIRWISE[site.layer.class_name], _of_one_rank(b, site.inputs)
    several = len({value.shape for value in values}) > 1
    steps = {value.shape[1] for value in values}
    if values[0].rank != 3 or (several and (op != "multiply" or (len(steps) > 1 and _all(values)))):
        raise site.refuse(f"{site.layer.class_name} of masked values of several shapes")
    made, mask = values[0], values[0].mask
    if op == "multiply" and mask is not None:
        made = b.add("fill_masked", (made, mask), value=1.0)
    for value in values[1:]:
        before, given = made, value.mask
        if given is not None and op == "multiply":
            value = b.add("fill_masked", (value, given), value=1.0)
        elif given is not None:
            value = _chosen(b, given, value, before)
        if mask is not None and op != "multiply":
            made = _chosen(b, mask, made, value)
        made = b.add(op, (made, value), broadcast([made.shape, value.shape]))
        mask = _reduce(b, "logical_or", [mask, given]) if mask and given else None
    if op == "multiply" and mask is not None:
        made = b.add("fill_masked", (made, mask), value=0.0)
    return masked(made, mask)


def _all(values: Sequence[Value]) -> bool:
    return all(value.mask is not None for value in values)


def _chosen(b: Builder, mask: Value, value: Value, other: Value) -> Value:
    steps = b.expand(mask, mask.rank)
    return b.add("where", (steps, value, other), value.shape, dtype=value.dtype)


def subtract(b: Builder, site: Site) -> list[Value]:
    first, second = _of_one_rank(b, _two(site))
    pair = [numbers(b, value) for value in (first, second)]
    dtype, shape = common(value.dtype for value in pair), broadcast([v.shape for v in pair])
    made = b.add("subtract", pair, shape, dtype=dtype)
    return [masked(made, _joined_mask(b, site.inputs))]


def concatenate(b: Builder, site: Site) -> list[Value]:
    values = site.inputs
    given = site.get("axis", "concat_axis", default=-1)
    rank = values[0].rank
    if not isinstance(given, int) or not -rank < given < rank or given == 0:
        raise DialectError("concatenates along no axis", tensor=site.where, found=given)
    axis = given % rank
    shape = joined(values, axis)
    made = b.add("concat", alike(b, values), shape, axis=given)
    masks = [value.mask for value in values]
    if all(mask is None for mask in masks):
        return [made]
    if axis == rank - 1:
        return [masked(made, _along_features(b, masks))]
    if axis != 1 or rank != 3:
        raise site.refuse("Concatenate of masked values along this axis")
    known = [
        mask or b.add("ones_mask", (value,), value.shape[:2], name="mask", dtype="bool")
        for mask, value in zip(masks, values, strict=True)
    ]
    mask = b.add("concat", known, shape[:2], name="mask", dtype="bool", axis=1)
    return [masked(made, mask)]


def _along_features(b: Builder, masks: Sequence[Value | None]) -> Value | None:
    """Keras 3 counts a step that any of the values counts, older ones that all of them do."""
    known = [mask for mask in masks if mask is not None]
    if b.version >= (3, 0):
        return None if len(known) < len(masks) else _reduce(b, "logical_or", known)
    return _reduce(b, "logical_and", known)


def _joined_mask(b: Builder, values: Sequence[Value]) -> Value | None:
    known = [value.mask for value in values if value.mask is not None]
    if b.version >= (3, 0):
        return _reduce(b, "logical_or", known) if len(known) == len(values) else None
    return _reduce(b, "logical_and", known) if known else None


def _reduce(b: Builder, op: str, masks: Sequence[Value]) -> Value:
    made = masks[0]
    for mask in masks[1:]:
        if mask is not made:
            made = b.add(op, (made, mask), name="mask")
    return made


def dot(b: Builder, site: Site) -> list[Value]:
    first, second = _two(site)
    given = site.get("axes", "dot_axes")
    pair = given if isinstance(given, list | tuple) else (given, given)
    if len(pair) != 2 or not all(type(n) is int for n in pair):
        raise DialectError("has no axes", tensor=site.where, found=str(given)[:80])
    i, j = pair[0] % first.rank, pair[1] % second.rank
    if not (2 <= first.rank <= 3 and 2 <= second.rank <= 3 and i and j):
        raise site.refuse("Dot of values with more than three axes")
    if site.get("normalize"):
        first, second = b.add("unit", (first,), axis=i), b.add("unit", (second,), axis=j)
    if first.rank == second.rank == 2:
        product = b.add("multiply", (first, second))
        return [b.add("sum", (product,), (first.shape[0], 1), axes=(1,), keep=True)]
    rows = first if first.rank == 2 else moved(b, first, (0, 3 - i, i))
    columns = second if second.rank == 2 else moved(b, second, (0, j, 3 - j))
    if first.rank == 2:
        rows = b.expand(first, 1)
    if second.rank == 2:
        columns = b.expand(second, 2)
    shape = (rows.shape[0], rows.shape[1], columns.shape[2])
    made = b.add("matmul", (rows, columns), shape)
    axis = 1 if first.rank == 2 else 2
    if 2 not in (first.rank, second.rank):
        return [made]
    return [b.add("squeeze", (made,), (*shape[:axis], *shape[axis + 1 :]), axis=axis)]


def keras1_merge(b: Builder, site: Site) -> list[Value]:
    name = _KERAS_1.get(str(site.get("mode")))
    if name is None:
        raise site.refuse(f"Merge with mode {site.get('mode')!r}"[:100])
    entry = type(site.layer)(name, site.layer.config)
    return RULES[name](b, Site(entry, site.path, site.inputs, site.kwargs))


def _two(site: Site) -> tuple[Value, ...]:
    if len(site.inputs) != 2:
        raise DialectError(
            f"{site.layer.class_name} of {len(site.inputs)} values", tensor=site.where
        )
    return site.inputs


def _of_one_rank(b: Builder, values: Sequence[Value]) -> list[Value]:
    """Give values of fewer axes more of size one, behind the batch, as Keras does."""
    rank = max(value.rank for value in values)
    found = []
    for value in values:
        while value.rank < rank:
            value = b.expand(value, 1)
        found.append(value)
    return found


RULES = {
    **dict.fromkeys((*_PAIRWISE, "Average"), merge),
    "Subtract": subtract,
    "Concatenate": concatenate,
    "Dot": dot,
    "Merge": keras1_merge,
}
PAIRWISE = (*_PAIRWISE, "Average", "Subtract")
"""Layers that compute one number of several."""

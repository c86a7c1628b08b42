"""aten operators of masks: comparisons, what is filled in where they hold, and attention."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ckptconv.dialects.torch.network import shapes
from ckptconv.dialects.torch.network.call import LARGEST, Operator, Rule, number
from ckptconv.dialects.torch.network.sizes import number_or_size
from ckptconv.graph.network import Value


def _compare(o: Operator) -> None:
    if o.has_tensor("other"):
        o.give("compare", o.tensor("self"), o.tensor("other"), by=o.name)
    else:
        given = [o.tensor("self")]
        other = number_or_size(o, "other", given)
        o.give("compare_number", *given, number=other, by=o.name)


def _masked_fill(o: Operator) -> None:
    value = filling(o, "value")
    o.give("masked_fill", o.tensor("self"), o.tensor("mask"), value=value)


def filling(o: Operator, key: str) -> float:
    """Return what is filled in: a number, or minus infinity."""
    if o.get(key) == -math.inf:
        o.program.infinite = True
        return -math.inf
    return number(o, key)


def softmax(o: Operator, x: Value, axis: int) -> None:
    """Give the weights of scores of which a row may be minus infinity alone: that row is NaN.

    In MindSpore's softmax on a CPU such a row spoils all rows after it.
    """
    top = o.between("amax", x, axes=(axis,), keep=True)
    lost = o.between("multiply_number", top, number=0)
    weights = o.between("softmax", o.between("clip", x, low=-LARGEST, high=None), axis=axis)
    o.give("add", weights, lost)


def _where(o: Operator) -> None:
    """Choose between values, each of which may be a number."""
    condition = o.tensor("condition")
    one, other = (o.typed(o.tensor(key)) if o.has_tensor(key) else None for key in _CHOICES)
    if one is None and other is not None:
        condition, one, other, key = o.between("logical_not", condition), other, None, "self"
    elif one is None:
        dtype = o.dtype
        value = filling(o, "self")
        one, key = o.between("full_as", condition, value=value, dtype=dtype), "other"
    else:
        key = "other"
    if other is None:
        o.give("where_number", condition, one, number=filling(o, key))
    else:
        o.give("where", condition, one, other)


_CHOICES = ("self", "other")


def _converted(o: Operator) -> None:
    x = o.tensor("self")
    o.rest_is_told()  # of type_as
    if x.dtype == o.program.dtype(o.outputs[0]):
        shapes.same(o)
    elif o.program.dtype(o.outputs[0]) == "bool":
        o.give("compare_number", x, by="ne", number=0)
    else:
        o.give("convert", x, dtype=o.dtype)


def _attention(o: Operator) -> None:
    if o.get("dropout_p"):
        raise o.refuse("dropout_p")
    query, key, value = (o.tensor(name) for name in ("query", "key", "value"))
    if o.get("enable_gqa"):
        key, value = (_for_each_head(o, query, x) for x in (key, value))
    if not (o.has_tensor("attn_mask") or o.get("is_causal") or o.get("scale") is not None):
        o.give("sdpa", query, key, value)
        return
    if query.rank < 3 or (o.has_tensor("attn_mask") and o.tensor("attn_mask").rank > query.rank):
        raise o.refuse("queries without batch, or a mask of more axes")
    weights, unseen = _scores(o, query, key)
    for mask in unseen:  # finite: see ``softmax``
        weights = o.between("masked_fill", weights, mask, value=-LARGEST)
    weights = o.between("softmax", weights, axis=query.rank - 1)
    for mask in unseen:  # who sees nothing gets zeros
        weights = o.between("masked_fill", weights, mask, value=0.0)
    o.give("matmul", weights, value)


def _for_each_head(o: Operator, query: Value, x: Value) -> Value:
    heads, given = (value.shape[-3] if value.rank > 2 else None for value in (query, x))
    if not heads or not given or heads % given:
        raise o.refuse("enable_gqa and heads that are not known")
    if heads == given:
        return x
    return o.between("repeat", x, times=heads // given, axis=x.rank - 3)


def _scores(o: Operator, query: Value, key: Value) -> tuple[Value, list[Value]]:
    """Return what is to be made weights, and masks of what is not seen."""
    scale, width = o.get("scale"), query.shape[-1]
    if scale is None:
        if width is None:
            raise o.refuse("a width that is free")
        scale = width**-0.5
    order = (*range(key.rank - 2), key.rank - 1, key.rank - 2)
    scores = o.between("matmul", query, o.between("permute", key, order=order))
    scores = o.between("multiply_number", scores, number=scale)
    unseen: list[Value] = []
    if o.has_tensor("attn_mask"):
        mask = o.tensor("attn_mask")
        if mask.dtype == "bool":
            unseen.append(o.between("logical_not", mask))
        else:
            scores = o.between("add", scores, mask)
            low = o.between("compare_number", scores, number=-LARGEST, by="lt", dtype="bool")
            unseen.append(low)
    if o.get("is_causal"):
        seen = o.between("causal", query, key, dtype="bool")
        unseen.append(o.between("logical_not", seen))
    return scores, unseen


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("eq", "ne", "gt", "ge", "lt", "le"), _compare),
    "masked_fill": _masked_fill,
    **dict.fromkeys(("to", "_to_copy", "type_as"), _converted),
    "where": _where,
    "scaled_dot_product_attention": _attention,
}

"""aten operators of masks: comparisons, what is filled in where they hold, and attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ckptconv.dialects.torch.network import shapes
from ckptconv.dialects.torch.network.call import LARGEST, Operator, number
from ckptconv.graph.network import Value


def _compare(o: Operator) -> None:
    if o.has_tensor("other"):
        o.give("compare", o.tensor("self"), o.tensor("other"), by=o.name)
    else:
        o.give("compare_number", o.tensor("self"), number=number(o, "other"), by=o.name)


def _masked_fill(o: Operator) -> None:
    if o.get("value") == -math.inf:
        o.give("masked_fill_lowest", o.tensor("self"), o.tensor("mask"))
    else:
        o.give("masked_fill", o.tensor("self"), o.tensor("mask"), value=number(o, "value"))


def _where(o: Operator) -> None:
    if not (o.has_tensor("self") and o.has_tensor("other")):
        raise o.refuse("a number in place of a tensor")
    o.give("where", o.tensor("condition"), o.tensor("self"), o.tensor("other"))


def _converted(o: Operator) -> None:
    x = o.tensor("self")
    if x.dtype == o.program.dtype(o.outputs[0]):
        shapes.same(o)
    else:
        o.give("convert", x, dtype=o.dtype)


def _attention(o: Operator) -> None:
    if o.get("dropout_p") or o.get("enable_gqa"):
        raise o.refuse("dropout_p or enable_gqa")
    query, key, value = (o.tensor(name) for name in ("query", "key", "value"))
    if not (o.has_tensor("attn_mask") or o.get("is_causal") or o.get("scale") is not None):
        o.give("sdpa", query, key, value)
        return
    if query.rank < 3 or (o.has_tensor("attn_mask") and o.tensor("attn_mask").rank > query.rank):
        raise o.refuse("queries without batch, or a mask of more axes")
    weights, unseen = _scores(o, query, key)
    for mask in unseen:  # finite: a row of infinities spoils those after it in MindSpore's softmax
        weights = o.between("masked_fill", weights, mask, value=-LARGEST)
    weights = o.between("softmax", weights, axis=query.rank - 1)
    for mask in unseen:  # who sees nothing gets zeros
        weights = o.between("masked_fill", weights, mask, value=0.0)
    o.give("matmul", weights, value)


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
            below = {"number": -LARGEST, "by": "lt", "dtype": "bool"}
            unseen.append(o.between("compare_number", scores, **below))
    if o.get("is_causal"):
        seen = o.between("causal", query, key, dtype="bool")
        unseen.append(o.between("logical_not", seen))
    return scores, unseen


RULES: Mapping[str, Callable[[Operator], None]] = {
    **dict.fromkeys(("eq", "ne", "gt", "ge", "lt", "le"), _compare),
    **dict.fromkeys(("masked_fill", "masked_fill_"), _masked_fill),
    **dict.fromkeys(("to", "_to_copy", "type_as"), _converted),
    "where": _where,
    "scaled_dot_product_attention": _attention,
}

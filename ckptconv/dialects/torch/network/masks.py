"""aten operators of masks: comparisons, what is filled in where they hold, and attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ckptconv.dialects.torch.network import shapes
from ckptconv.dialects.torch.network.program import Operator, number


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
    extras = ("dropout_p", "is_causal", "scale", "enable_gqa")
    if o.has_tensor("attn_mask") or any(o.get(key) for key in extras):
        raise o.refuse(f"attn_mask, {', '.join(extras)}")
    o.give("sdpa", *(o.tensor(key) for key in ("query", "key", "value")))


RULES: Mapping[str, Callable[[Operator], None]] = {
    **dict.fromkeys(("eq", "ne", "gt", "ge", "lt", "le"), _compare),
    **dict.fromkeys(("masked_fill", "masked_fill_"), _masked_fill),
    **dict.fromkeys(("to", "_to_copy", "type_as"), _converted),
    "where": _where,
    "scaled_dot_product_attention": _attention,
}

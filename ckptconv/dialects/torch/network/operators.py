"""THE table of aten operators: what each becomes in a network."""

from __future__ import annotations

from collections.abc import Mapping

from ckptconv.dialects.torch.network import (
    arithmetic,
    bare,
    choosing,
    einsum,
    functions,
    images,
    layers,
    made,
    masks,
    pools,
    reductions,
    shapes,
    writes,
)
from ckptconv.dialects.torch.network.call import Rule

GROUPS: Mapping[str, Mapping[str, Rule]] = {
    "layers": layers.RULES,
    "norms, convolutions and tables without a layer": bare.RULES,
    "functions": functions.RULES,
    "arithmetic, logic, products": {**arithmetic.RULES, "einsum": einsum.einsum},
    "sums and extremes": reductions.RULES,
    "pooling": pools.RULES,
    "comparisons, masks, casts, attention": masks.RULES,
    "shapes": shapes.RULES,
    "sizes of images": images.RULES,
    "choice by place": choosing.RULES,
    "new values": made.RULES,
    "writing over values": writes.RULES,
}
"""What operators are for → theirs; of an operator in two groups the later one's rule calls the
other's."""
RULES: Mapping[str, Rule] = {
    name: rule for group in GROUPS.values() for name, rule in group.items()
}

"""Which module of a source is which module of a target network: a plan, and names by it."""

from ckptconv.passes.match.apply import Matching, lowered, matching
from ckptconv.passes.match.engine import Order
from ckptconv.passes.match.plan import Plan
from ckptconv.passes.match.slashed import by_levels, plainly
from ckptconv.passes.match.written import Lower

__all__ = [
    "Lower",
    "Matching",
    "Order",
    "Plan",
    "by_levels",
    "lowered",
    "matching",
    "plainly",
]

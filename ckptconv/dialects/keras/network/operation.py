"""What the rules of operations of Keras 3 have in common: their settings, numbers and axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ckptconv.dialects.keras.network.builder import Builder, Site
from ckptconv.dialects.keras.network.promotion import converted
from ckptconv.graph.network import Value

Rule = Callable[[Builder, Site], list[Value]]
Rules = Mapping[str, tuple[Rule, tuple[str, ...]]]
"""Operation → its rule, and the settings that it reads."""
PREFIX = "ops."


def name_of(site: Site) -> str:
    """Return the class of an operation."""
    return site.layer.class_name.removeprefix(PREFIX)


def number(site: Site, value: Any) -> float:
    """Return a value of an operation's that is a number.

    Raises:
        LossyError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e30:
        raise site.refuse("something that is no number")
    return value


def axis_of(site: Site, key: str = "axis", rank: int | None = None, default: Any = None) -> int:
    """Return an axis that is not the batch's, counted from the front.

    Raises:
        LossyError: it is none, or the batch's.
    """
    axis, size = site.get(key, default=default), site.x.rank if rank is None else rank
    if type(axis) is not int or not -size <= axis < size or axis % size == 0:
        raise site.refuse("an axis that is none, or the batch's")
    return axis % size


def truth(b: Builder, site: Site, value: Any) -> Value:
    """Return a value as bools: what is not zero.

    Raises:
        LossyError: it is a number.
    """
    if not isinstance(value, Value):
        raise site.refuse("a number where a value is expected")
    return converted(b, value, "bool")

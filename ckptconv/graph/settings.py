"""Settings of two layers, held against each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ckptconv.graph.graph import Layer

_TRAINING = {"dropout", "recurrent_dropout", "momentum", "training", "return_state"}
_TOLD_TWICE = {"mode", "head_dim"}
"""What follows from other settings."""


def apart(one: Layer, other: Layer) -> Iterator[tuple[str, object, object]]:
    """Yield each setting that inference knows and that two layers record otherwise.

    One number for an axis is that number for each, and numbers are as exact as float32. Of another
    number of axes they tell nothing: MindSpore's 1-D layers are its 2-D ones.
    """
    for key in sorted(one.attributes.keys() & other.attributes.keys() - _TRAINING - _TOLD_TWICE):
        said, meant = one.attributes[key], other.attributes[key]
        rows = [value for value in (said, meant) if isinstance(value, list | tuple)]
        of_one_rank = len({*map(len, rows)}) < 2
        if of_one_rank and _value(said) != _value(meant):
            yield key, said, meant


def _value(value: Any) -> Any:
    if isinstance(value, list | tuple):
        values = [_value(each) for each in value]
        return values[0] if len({*map(repr, values)}) == 1 else values
    return float(np.float32(value)) if isinstance(value, float) else value

"""Settings of two layers, held against each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ckptconv.graph.graph import Layer
from ckptconv.graph.kinds import KINDS
from ckptconv.tensors.lazy import np

_TRAINING = {"dropout", "recurrent_dropout", "momentum", "training", "return_state"}
_TOLD_TWICE = {"mode", "head_dim"}
"""What follows from other settings, but for kinds of which it is a setting of its own."""


def apart(
    one: Layer, other: Layer, *, abroad: bool = False
) -> Iterator[tuple[str, object, object]]:
    """Yield each setting that inference knows and that two layers record otherwise.

    One number for an axis is that number for each, and numbers are as exact as float32. Of another
    number of axes they tell nothing. Padding is told in words or numbers.

    Args:
        abroad: the other layer is of another framework, where a layer before it may do what a word
            for padding means.
    """
    own = KINDS[one.kind].hyper if one.kind in KINDS else {}
    left_out = _TRAINING | (_TOLD_TWICE - own.keys())
    for key in sorted(one.attributes.keys() & other.attributes.keys() - left_out):
        said, meant = (
            _padding(layer) if key == "padding" else layer.attributes[key] for layer in (one, other)
        )
        rows = [value for value in (said, meant) if isinstance(value, list | tuple)]
        of_one_rank = len({*map(len, rows)}) < 2
        before = abroad and key == "padding" and isinstance(said, str)
        if of_one_rank and not before and _value(said) != _value(meant):
            yield key, said, meant


def _padding(layer: Layer) -> Any:
    """Return padding in numbers, but for words whose numbers depend on the size of the input."""
    said = layer.attributes["padding"]
    kernel = layer.params["weight"].shape[2:] if "weight" in layer.params else ()
    stride, dilation = (layer.attributes.get(name, 1) for name in ("stride", "dilation"))
    if said == "valid":
        return 0
    if said != "same" or _value(stride) != 1:
        return said
    steps = dilation if isinstance(dilation, list | tuple) else [dilation] * len(kernel)
    around = [step * (size - 1) for step, size in zip(steps, kernel, strict=False)]
    return said if any(n % 2 for n in around) else [n // 2 for n in around]


def _value(value: Any) -> Any:
    if isinstance(value, list | tuple):
        values = [_value(each) for each in value]
        return values[0] if len({*map(repr, values)}) == 1 else values
    with np.errstate(over="ignore"):
        return float(np.float32(value)) if isinstance(value, float) else value

"""The notes of a report, done by hand: what each tells a user to do around a layer.

A note that stands in no row changes nothing here, and a difference that it hides counts as silent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.differential.keras_models.spec import BATCH

Array = Any


@dataclass(frozen=True)
class Place:
    """The layer that a note is about.

    Attributes:
        call: the constructor call in the report.
        activation: Keras's own function, for a note that leaves it to the user.
    """

    call: str
    activation: Callable[[Array], Array] | None
    owner: Any = None


Do = Callable[[Array, "re.Match[str]", Place], Array]


def _flip(x: Array, *_: Any) -> Array:
    return x[:, ::-1]


def _last(y: Array, _: Any, place: Place) -> Array:
    if "bidirectional=True" not in place.call:
        return y[:, -1]
    half = y.shape[-1] // 2
    return np.concatenate([y[:, -1, :half], y[:, 0, half:]], -1)


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "linear": lambda x: x,
    "elu": lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
}


def _activate(y: Array, match: re.Match[str], place: Place) -> Array:
    function = _FUNCTIONS.get(match[1])
    if function is not None:
        return function(y)
    if place.activation is None:
        return y
    return np.asarray(place.activation(y))


def _to_front(x: Array, *_: Any) -> Array:
    return np.moveaxis(x, -1, 1) if x.ndim > 2 else x


def _to_back(y: Array, *_: Any) -> Array:
    return np.moveaxis(y, 1, -1) if y.ndim > 2 else y


def _pad_same(x: Array, _: Any, place: Place) -> Array:
    """Pad as the note's formula says; the channels are axis 1 by now."""
    owner, widths = place.owner, [(0, 0), (0, 0)]
    for n, s, d, k in zip(
        x.shape[2:], owner.strides, owner.dilation_rate, owner.kernel_size, strict=True
    ):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        widths.append((total // 2, total - total // 2))
    return np.pad(x, widths)


def _fold(x: Array, *_: Any) -> Array:
    return x.reshape(-1, *x.shape[2:])


def _unfold(y: Array, *_: Any) -> Array:
    return y.reshape(BATCH, -1, *y.shape[1:])


BEFORE: tuple[tuple[str, Do], ...] = (
    # note → what it says to do with the layer's input
    (r"TimeDistributed: fold the time axis into the batch", _fold),
    (r"reverse the input along time", _flip),
    (r"channels are axis 1 here", _to_front),
    (r"padding 'same' with strides depends on the input", _pad_same),
)
AFTER: tuple[tuple[str, Do], ...] = (
    # note → what it says to do with the layer's output
    (r"and the output again", _flip),
    (r"channels are axis 1 here", _to_back),
    (r"return_sequences=False: take the last step", _last),
    (r"activation: apply (.+) to this layer's output", _activate),
    (r"TimeDistributed: .*and unfold it after", _unfold),
)


def apply(rows: tuple[tuple[str, Do], ...], notes: list[str], x: Array, place: Place) -> Array:
    """Do what the notes say, in the order of the rows."""
    for pattern, do in rows:
        for note in notes:
            if match := re.search(pattern, note):
                x = do(x, match, place)
    return np.ascontiguousarray(x)

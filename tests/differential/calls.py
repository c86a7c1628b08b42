"""Networks of one layer of Keras's, called in any way that its own signature allows.

Each argument comes by its place or by its name, as a value of the network, as an array, as a flag
or not at all; what Keras refuses is void.
"""

from __future__ import annotations

import inspect
import zlib
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from tests.differential.keras_models import build
from tests.differential.networks import TARGETS, attempt
from tests.differential.operations import Held, Place, held
from tests.differential.outcome import Case, Generator, Outcome
from tests.differential.settings import LAYERS

_UNITS = 4
_CHANGING = {"LSTM": {"recurrent_activation": "hard_sigmoid"}, "GRU": {"reset_after": False}}
_WRAPPED = ("Bidirectional", "TimeDistributed")
_STATES = {"LSTM": 2, "GRU": 1, "SimpleRNN": 1, "Bidirectional": 2}


class Mask(NamedTuple):
    """Which steps of a value count: computed from it."""

    index: int


class Drawn(NamedTuple):
    layer: str
    settings: dict[str, Any]
    shape: tuple[int, ...]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    masked: bool
    target: str

    def __str__(self) -> str:
        given = [*map(repr, self.args), *(f"{key}={value!r}" for key, value in self.kwargs.items())]
        told = ", ".join(f"{key}={value!r}" for key, value in self.settings.items())
        return (
            f"{self.layer}({told})({', '.join(given)}) of {self.shape}"
            f"{', of masked steps' * self.masked}, to {self.target}"
        )


def _draw(seed: str) -> Drawn:
    rng = Random(f"{seed}:calls")
    name = rng.choice([*LAYERS, *_STATES, *_WRAPPED, "Attention", "MultiHeadAttention"])
    base, shapes = LAYERS.get(name, ({}, LAYERS["LSTM"][1]))
    settings = {**base, **(_CHANGING.get(name, {}) if rng.random() < 0.3 else {})}
    if name in ("LSTM", "GRU"):
        settings |= {"return_sequences": rng.random() < 0.5, "return_state": rng.random() < 0.3}
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for i, key in enumerate(_parameters(name)):
        if i and rng.random() < 0.6:
            continue
        value = _argument(rng, name, key, shapes) if i else _first(rng, name, shapes)
        if i == len(args) and rng.random() < 0.6:
            args.append(value)
        else:
            kwargs[key] = value
    masked = len(shapes[0]) == 2 and rng.random() < 0.4
    target = rng.choice([*TARGETS])
    return Drawn(name, settings, shapes[0], tuple(args), kwargs, masked, target)


def _parameters(name: str) -> list[str]:
    _, *found = inspect.signature(getattr(layers, name).call).parameters
    return found


def _first(rng: Random, name: str, shapes: tuple[tuple[int, ...], ...]) -> Any:
    several = len(shapes) > 1 and name != "MultiHeadAttention"
    if not several:
        return [Place(0)] if rng.random() < 0.05 else Place(0)
    found = [Place(0), *(_value(rng, shapes[0]) for _ in range(rng.choice((1, 1, 2))))]
    return rng.sample(found, len(found))


def _value(rng: Random, shape: tuple[int, ...]) -> Any:
    if rng.random() < 0.6:
        return Place(rng.randrange(3))
    shape = rng.choice(((1, *shape), (1, *shape), shape, (1, *shape[:-1], 1), shape[-1:]))
    dtype = rng.choice(("float32", "float64", "int32", "int64", "bool"))
    return Held(shape, dtype, rng.random() < 0.5)


def _argument(rng: Random, name: str, key: str, shapes: tuple[tuple[int, ...], ...]) -> Any:
    shape = shapes[0]
    if key == "mask" and len(shapes) > 1:
        return [_mask(rng, shape) for _ in range(rng.choice((1, 2, 2)))]
    if key == "attention_mask":
        return Held(rng.choice(((1, 6, 6), (6, 6), (1, 1, 6))), "bool", rng.random() < 0.5)
    if key.endswith("mask") and not key.startswith("use"):
        return _mask(rng, shape)
    if key == "initial_state":
        states = [rng.choice((Place(i), Held((1, _UNITS), "float32", False))) for i in range(2)]
        return states[: _STATES.get(name, 1)]
    return _value(rng, shape) if key in ("value", "key") else rng.choice((True, False, None))


def _mask(rng: Random, shape: tuple[int, ...]) -> Any:
    return rng.choice((None, Mask(0), Mask(1), Held((1, *shape[:-1]), "bool", False)))


def _model(drawn: Drawn) -> Any:
    inputs = [keras.Input(drawn.shape) for _ in range(3)]
    values = [layers.Masking()(x) if drawn.masked else x for x in inputs]
    values = [layers.Dense(x.shape[-1], name=f"before_{i}")(x) for i, x in enumerate(values)]
    states = [layers.Dense(_UNITS, name=f"state_{i}")(x[:, 0]) for i, x in enumerate(inputs)]

    def put(argument: Any, values: list[Any] = values) -> Any:
        if isinstance(argument, list):
            return [put(one, values) for one in argument]
        if isinstance(argument, Mask):
            return ops.greater(ops.max(inputs[argument.index], axis=-1), 0.5)
        if isinstance(argument, Held):
            return held(argument)
        return values[argument.index] if isinstance(argument, Place) else argument

    kwargs = {
        key: put(value, states if key == "initial_state" else values)
        for key, value in drawn.kwargs.items()
    }
    names = _parameters(drawn.layer)
    args = [
        put(value, states if key == "initial_state" else values)
        for key, value in zip(names, drawn.args, strict=False)
    ]
    made = _layer(drawn)(*args, **kwargs)
    found = [made] if keras.utils.is_keras_tensor(made) else [*made]
    more = [layers.GRU(2)(x) for x in found if len(x.shape) == 3 and x.dtype == "float32"]
    return keras.Model(inputs, [*found, *more, *(layers.Dense(1)(x) for x in inputs)])


def _layer(drawn: Drawn) -> Any:
    if drawn.layer == "Bidirectional":
        return layers.Bidirectional(layers.GRU(_UNITS, return_sequences=True))
    if drawn.layer == "TimeDistributed":
        return layers.TimeDistributed(layers.Dense(_UNITS))
    return getattr(layers, drawn.layer)(**drawn.settings)


def _run(case: Case, tmp: Path) -> Outcome:
    drawn: Drawn = case.data
    seed = zlib.crc32(case.text.encode())
    keras.backend.clear_session(free_memory=False)
    rng = np.random.default_rng(seed)
    given = [rng.normal(0, 1.5, (3, *drawn.shape)).astype("f4") for _ in range(3)]
    for value in given if drawn.masked else []:
        value[1, -1:] = value[2, -2:] = 0
    return attempt(lambda: _filled(drawn, seed), given, drawn.target, tmp, f"a {drawn.layer}")


def _filled(drawn: Drawn, seed: int) -> Any:
    model = _model(drawn)
    build.fill(model, seed)
    return model


GENERATOR = Generator(_draw, _run)

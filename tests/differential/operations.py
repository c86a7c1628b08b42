"""Networks of Keras operations, each of arguments that its own signature allows, and of any dtypes.

An operation that Keras refuses is void; one that is not known to a network must be refused.
"""

from __future__ import annotations

import inspect
import zlib
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from tests.differential.keras_models import build
from tests.differential.networks import TARGETS, attempt
from tests.differential.outcome import Case, Generator, Outcome

_SHAPES = ((4,), (3, 4), (3, 1), (1, 4), (4, 3), (2, 3, 4))
_DTYPES = ("float32", "float32", "int32", "bool")
_NUMBERS = (2, 0.5, -3, 0, 1, True, -1.5)
_COMMON = (
    *("add", "subtract", "multiply", "divide", "maximum", "minimum", "matmul", "where", "clip"),
    *("sum", "mean", "max", "min", "any", "stack", "concatenate", "squeeze", "expand_dims", "pad"),
    *("reshape", "swapaxes", "transpose", "flip", "softmax", "log_softmax", "gelu", "not_equal"),
    *("greater", "less_equal", "equal", "logical_and", "logical_or", "zeros_like", "ones_like"),
    *("abs", "relu", "relu6", "hard_sigmoid", "exp", "sqrt", "square", "negative", "softplus"),
    *("log", "rsqrt", "convert_to_tensor", "true_divide", "cast", "moveaxis", "tile", "repeat"),
    *("split", "one_hot", "power", "reciprocal", "leaky_relu", "elu", "logical_not", "var", "std"),
    *("logsumexp", "all", "argmax", "argmin", "cumsum", "normalize", "sign", "floor", "ceil"),
    *("erf", "log1p", "expm1", "log2", "log10", "arctan", "selu", "log_sigmoid"),
    *("hard_silu", "hard_tanh", "tanh_shrink", "stop_gradient", "amax", "amin", "greater_equal"),
    *("less", "silu", "sigmoid", "tanh", "sin", "cos", "softsign"),
)
"""What networks know, or might; of the others each comes up, too, to be refused."""
_ACTIVATIONS = ("relu", "elu", "leaky_relu", "gelu", "softmax", "hard_tanh", "silu", "linear")
_VALUES = ("x", "x1", "x2", "inputs", "a", "b", "condition", "x_min", "x_max", "y", "variable")
_SEVERAL = ("arrays", "xs")


class Drawn(NamedTuple):
    """An operation, the shape and dtypes of its values, and its arguments."""

    name: str
    arguments: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    masked: bool
    followed: bool
    target: str

    def __str__(self) -> str:
        given = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        values = zip(self.dtypes, self.shapes, strict=True)
        of = ", ".join(f"{dtype}{shape}" for dtype, shape in values)
        return (
            f"{self.name}({given}) of {of}{', of masked steps' * self.masked}"
            f"{', then layers' * self.followed}, to {self.target}"
        )


class Place(NamedTuple):
    """An argument that is a value of the network."""

    index: int


class Held(NamedTuple):
    """An argument that is an array: of numpy, or a tensor."""

    shape: tuple[int, ...]
    dtype: str
    is_tensor: bool


@lru_cache
def _names() -> list[str]:
    found = (name for name in dir(ops) if not name.startswith("_"))
    functions = sorted(name for name in found if inspect.isfunction(getattr(ops, name)))
    return [*functions, *(f"activations.{name}" for name in _ACTIVATIONS)]


def _function(name: str) -> Any:
    place, _, rest = name.rpartition(".")
    return getattr(keras.activations if place else ops, rest)


def _draw(seed: str) -> Drawn:
    rng = Random(f"{seed}:operations")
    name = rng.choice(_COMMON if rng.random() < 0.8 else _names())
    name = f"activations.{rng.choice(_ACTIVATIONS)}" if rng.random() < 0.05 else name
    shape = rng.choice(_SHAPES)
    shapes = (shape, rng.choice((shape, shape, rng.choice(_SHAPES))), shape)
    dtypes = tuple(rng.choice(_DTYPES) for _ in shapes)
    arguments = {}
    for key, parameter in inspect.signature(_function(name)).parameters.items():
        if parameter.default is not parameter.empty and rng.random() < 0.4:
            continue
        arguments[key] = _argument(rng, key, parameter.default, len(shape) + 1, len(arguments))
    masked = len(shape) == 2 and rng.random() < 0.5
    followed = rng.random() < 0.5
    return Drawn(name, arguments, shapes, dtypes, masked, followed, rng.choice([*TARGETS]))


def _argument(rng: Random, key: str, default: Any, rank: int, place: int) -> Any:
    """Return what an argument of this name could be, for values of ``rank`` axes."""
    if key in _SEVERAL:
        return [Place(0), Place(1)]
    if key in _VALUES:
        return _value(rng, rank - 1, place)
    if key.startswith("axis"):
        axis = rng.randint(-rank, rank - 1)
        return rng.choice((axis, axis, (axis, -1), default if default is not inspect._empty else 1))
    if key == "axes":
        return (0, *rng.sample(range(1, rank), rank - 1))
    if key == "newshape":
        return rng.choice(((-1, 4), (-1, 12), (-1, 3, 4), (-1, 2, 6), (-1, 1, 4), (-1, 4, 1)))
    if key == "pad_width":
        return ((0, 0), *[(rng.randint(0, 2), rng.randint(0, 2)) for _ in range(rank - 1)])
    if key in ("num_classes", "indices_or_sections"):
        return rng.choice((2, 3, [1], [1, 2]))
    if key == "repeats":
        return rng.choice((2, 3, [1] * (rank - 1) + [2], [1, 2]))
    if key in ("source", "destination"):
        return rng.choice((rng.randint(-rank, rank - 1), [1, -1]))
    if key == "dtype":
        return rng.choice((None, "float32", "int32", "bool", "int64"))
    if key == "mode":
        return rng.choice(("constant", "reflect", "symmetric"))
    return (not default) if isinstance(default, bool) else rng.choice(_NUMBERS)


def _value(rng: Random, rank: int, place: int) -> Any:
    sort = rng.choice(("value", "value", "number", "array"))
    if sort == "number" and place:
        return rng.choice(_NUMBERS)
    if sort == "array":
        shape = rng.choice(_SHAPES)[rng.randint(0, rank) :]
        shape = rng.choice((shape, (1, *shape), (3, *shape))) or (1,)
        return Held(shape, rng.choice((*_DTYPES, "float64", "int64")), rng.random() < 0.5)
    return Place(place % 3)


def _model(drawn: Drawn) -> Any:
    entries = [keras.Input(shape) for shape in drawn.shapes]
    seen = [layers.Masking()(x) if drawn.masked and len(x.shape) == 3 else x for x in entries]
    values = [layers.Dense(x.shape[-1], name=f"before_{i}")(x) for i, x in enumerate(seen)]
    values = [_of(dtype, x) for dtype, x in zip(drawn.dtypes, values, strict=True)]
    made = _function(drawn.name)(**{k: _put(v, values) for k, v in drawn.arguments.items()})
    found = [made] if keras.utils.is_keras_tensor(made) else [*made]
    more = [_follow(x) for x in found if x.dtype == "float32"] if drawn.followed else []
    given = drawn.arguments.values()  # of float64 arrays torch alone makes values of float64
    wide = any(isinstance(value, Held) and value.dtype == "float64" for value in given)
    shown = [ops.less(x, 0.3) if wide else x for x in found]
    return keras.Model(entries, [*shown, *more, layers.Dense(1)(entries[0])])


def _follow(x: Any) -> Any:
    """Return what shows the shape of a value, and whether it has a mask."""
    return layers.GRU(2)(x) if len(x.shape) == 3 else layers.Dense(2)(x)


def _of(dtype: str, x: Any) -> Any:
    """Return a value in a dtype, by what networks know."""
    if dtype == "bool":
        return ops.greater(x, 0.2)
    return ops.sum(ops.stack([x > 0.1, x < 0.9], axis=1), axis=1) if dtype == "int32" else x


def _put(argument: Any, values: list[Any]) -> Any:
    if isinstance(argument, list):
        return [_put(one, values) for one in argument]
    if isinstance(argument, Held):
        return held(argument)
    return values[argument.index] if isinstance(argument, Place) else argument


def held(argument: Held) -> Any:
    """Return the array or tensor that an argument is."""
    made = np.random.default_rng(3).normal(0, 2, argument.shape).astype(argument.dtype)
    return ops.convert_to_tensor(made) if argument.is_tensor else made


def _run(case: Case, tmp: Path) -> Outcome:
    drawn: Drawn = case.data
    seed = zlib.crc32(case.text.encode())
    keras.backend.clear_session(free_memory=False)
    rng = np.random.default_rng(seed)
    given = [rng.normal(0, 1.5, (3, *shape)).astype("f4") for shape in drawn.shapes]
    for value in given if drawn.masked else []:
        value[1, -1:] = value[2, -2:] = 0
    return attempt(lambda: _filled(drawn, seed), given, drawn.target, tmp, drawn.name)


def _filled(drawn: Drawn, seed: int) -> Any:
    model = _model(drawn)
    build.fill(model, seed)
    return model


GENERATOR = Generator(_draw, _run)

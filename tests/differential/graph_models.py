"""Random graphs of Keras's layers, for any Keras: steps over the values so far.

A step that Keras does not take is left out. The last values of both sorts, sequences and vectors,
are all given.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from random import Random
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from tests.differential.graph_steps import FUNCTIONS, Made

STEPS, FEATURES, VOCABULARY, GIVEN = 5, 4, 7, 2
INPUTS = ("x", "z", "tokens", "v")


class Step(NamedTuple):
    """One operation: which values so far it takes (counted from the last), numbers."""

    name: str
    at: tuple[int, int]
    number: float
    whole: int
    flag: bool
    mode: int


def draw_steps(rng: Random, names: Collection[str] = FUNCTIONS) -> tuple[Step, ...]:
    return tuple(
        Step(
            rng.choice(list(names)),
            (rng.choice((0, 0, 0, 1, 2, 3)), rng.randrange(5)),
            rng.choice((0.5, 2.0, -0.7)),
            rng.randrange(1, 5),
            rng.random() < 0.5,
            rng.randrange(60),
        )
        for _ in range(rng.randint(2, 7))
    )


def model_of(steps: Sequence[Step], *, free: bool) -> Any:
    """Return a model of these steps; ``free``: it takes sequences of any length."""
    length = None if free else STEPS
    x = keras.Input((length, FEATURES), name="x")
    z = keras.Input((length, FEATURES), name="z")
    tokens = keras.Input((length,), dtype="int32", name="tokens")
    v = keras.Input((FEATURES,), name="v")
    words = layers.Embedding(VOCABULARY, FEATURES, mask_zero=True)(tokens)
    sequences, vectors = [z, words, layers.Masking()(x)], [layers.Dense(FEATURES)(v)]
    made = Made([])
    for step in steps:
        one, other = (sequences[-1 - min(n, len(sequences) - 1)] for n in step.at)
        vector = vectors[-1 - min(step.at[0], len(vectors) - 1)]
        try:
            found = FUNCTIONS[step.name](made, one, other, vector, step)
        except Exception:  # Keras does not take these shapes
            continue
        for value in found if isinstance(found, list | tuple) else [found]:
            if len(value.shape) in (2, 3):
                (sequences if len(value.shape) == 3 else vectors).append(value)
    outputs = [layers.Dense(2)(v), sequences[2], sequences[1], layers.Rescaling(1.5)(z)]
    return keras.Model([x, z, tokens, v], [*outputs, *sequences[3:][-GIVEN:], *vectors[-GIVEN:]])


def example(steps: int, batch: int, seed: int) -> dict[str, np.ndarray]:
    """Return inputs with masked steps before, amid and behind the others."""
    rng = np.random.default_rng(seed)
    shapes = {"x": (steps, FEATURES), "z": (steps, FEATURES), "v": (FEATURES,)}
    given = {k: (rng.normal(size=(batch, *s)) * 0.7).astype("f4") for k, s in shapes.items()}
    given["x"][rng.random((batch, steps)) < 0.3] = 0
    given["tokens"] = rng.integers(0, VOCABULARY, (batch, steps)).astype("i4")
    given["tokens"][0, :2], given["tokens"][-1, -2:] = 0, 0
    given["x"][-1, :1], given["x"][0, -2:] = 0, 0
    return given

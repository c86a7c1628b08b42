"""Networks of random graphs of Keras: masks, states, shared and nested layers, several inputs.

A graph is steps over the values so far, each a sequence or a vector; a step that Keras does not
take is left out. The last values of both sorts are all given.
"""

from __future__ import annotations

import random
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ckptconv import CkptconvError
from tests.differential.graph_steps import FUNCTIONS, Made
from tests.differential.keras_models import build, save
from tests.differential.networks import COMPILED, TARGETS, WAYS, answered, compared, results
from tests.differential.outcome import Case, Generator, Outcome, Result, Void
from tests.network.written import run_compiled

STEPS, FEATURES, VOCABULARY, GIVEN = 5, 4, 7, 2


class Step(NamedTuple):
    """One operation: which values so far it takes (counted from the last), numbers."""

    name: str
    at: tuple[int, int]
    number: float
    whole: int
    flag: bool
    mode: int


class Graph(NamedTuple):
    """Steps, how the model is saved, and the framework that its network is written for.

    Attributes:
        free: the model takes any number of steps.
        compiled: a network of MindSpore is run compiled, too.
    """

    target: str
    way: str
    free: bool
    compiled: bool
    steps: tuple[Step, ...]


def draw(seed: str) -> Graph:
    index, rng = int(seed.rpartition(":")[2]), random.Random(seed)
    steps = tuple(
        Step(
            rng.choice(list(FUNCTIONS)),
            (rng.choice((0, 0, 0, 1, 2, 3)), rng.randrange(5)),
            rng.choice((0.5, 2.0, -0.7)),
            rng.randrange(1, 5),
            rng.random() < 0.5,
            rng.randrange(60),
        )
        for _ in range(rng.randint(2, 7))
    )
    target = list(TARGETS)[index // 3 % 2]
    compiled = target == "mindspore" and rng.random() < COMPILED
    return Graph(target, WAYS[index % 3], rng.random() < 0.3, compiled, steps)


def _model(drawn: Graph) -> Any:
    import keras
    from keras import layers

    length = None if drawn.free else STEPS
    x = keras.Input((length, FEATURES), name="x")
    z = keras.Input((length, FEATURES), name="z")
    tokens = keras.Input((length,), dtype="int32", name="tokens")
    v = keras.Input((FEATURES,), name="v")
    words = layers.Embedding(VOCABULARY, FEATURES, mask_zero=True)(tokens)
    sequences, vectors = [z, words, layers.Masking()(x)], [layers.Dense(FEATURES)(v)]
    made = Made([])
    for step in drawn.steps:
        one, other = (sequences[-1 - min(n, len(sequences) - 1)] for n in step.at)
        vector = vectors[-1 - min(step.at[0], len(vectors) - 1)]
        try:
            found = FUNCTIONS[step.name](made, one, other, vector, step)
        except Exception:  # Keras does not take these shapes
            continue
        for value in found if isinstance(found, list | tuple) else [found]:
            if len(value.shape) in (2, 3):
                (sequences if len(value.shape) == 3 else vectors).append(value)
    outputs = [layers.Dense(2)(v), sequences[2], sequences[1], z * 1.5]
    return keras.Model([x, z, tokens, v], [*outputs, *sequences[3:][-GIVEN:], *vectors[-GIVEN:]])


def _example(steps: int, batch: int, seed: int) -> dict[str, np.ndarray]:
    """Return inputs with masked steps before, amid and behind the others."""
    rng = np.random.default_rng(seed)
    shapes = {"x": (steps, FEATURES), "z": (steps, FEATURES), "v": (FEATURES,)}
    given = {k: (rng.normal(size=(batch, *s)) * 0.7).astype("f4") for k, s in shapes.items()}
    given["x"][rng.random((batch, steps)) < 0.3] = 0
    given["tokens"] = rng.integers(0, VOCABULARY, (batch, steps)).astype("i4")
    given["tokens"][0, :2], given["tokens"][-1, -2:] = 0, 0
    given["x"][-1, :1], given["x"][0, -2:] = 0, 0
    return given


def _run(case: Case, tmp: Path) -> Outcome:
    import keras

    drawn: Graph = case.data
    seed = zlib.crc32(case.text.encode())
    keras.backend.clear_session(free_memory=False)
    try:
        model = _model(drawn)
        build.fill(model, seed)
        sets = [_example(STEPS, 3, seed), _example(STEPS + 3 * drawn.free, 4, seed + 1)]
        wanted = [results(model, list(given.values())) for given in _in_order(sets)]
        path = save.save(model, drawn.way, tmp)
    except Exception as error:
        raise Void(f"not made: {type(error).__name__}: {error}"[:70]) from error
    try:
        module, weights, names = answered(path, drawn.target, tmp)
    except CkptconvError as error:
        return Outcome(Result.REFUSED, error.problem[:70], str(error))
    arrays = [[given[name] for name in names] for given in sets]
    try:
        found = [TARGETS[drawn.target](module, weights, given) for given in arrays]
        if drawn.compiled:
            found += run_compiled(module, weights, *arrays)
    except Exception as error:
        return Outcome(Result.SILENT, "a network that does not run", repr(error))
    return compared(found, wanted * (1 + drawn.compiled), drawn.target)


def _in_order(sets: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    return [{name: given[name] for name in ("x", "z", "tokens", "v")} for given in sets]


GENERATOR = Generator(draw, _run)

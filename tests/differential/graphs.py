"""Networks of random graphs of Keras: masks, states, shared and nested layers, several inputs.

``recorded`` holds networks against such graphs that an older Keras made.
"""

from __future__ import annotations

import random
import zlib
from pathlib import Path
from typing import NamedTuple

from ckptconv import CkptconvError
from tests.differential.graph_models import INPUTS, STEPS, Step, draw_steps, example, model_of
from tests.differential.keras_models import build, save
from tests.differential.networks import COMPILED, TARGETS, WAYS, answered, compared, results
from tests.differential.outcome import Case, Generator, Outcome, Result, Void
from tests.network.written import run_compiled


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
    steps = draw_steps(rng)
    target = list(TARGETS)[index // 3 % 2]
    compiled = target == "mindspore" and rng.random() < COMPILED
    return Graph(target, WAYS[index % 3], rng.random() < 0.3, compiled, steps)


def _run(case: Case, tmp: Path) -> Outcome:
    import keras

    drawn: Graph = case.data
    seed = zlib.crc32(case.text.encode())
    keras.backend.clear_session(free_memory=False)
    try:
        model = model_of(drawn.steps, free=drawn.free)
        build.fill(model, seed)
        sets = [example(STEPS, 3, seed), example(STEPS + 3 * drawn.free, 4, seed + 1)]
        wanted = [results(model, [given[name] for name in INPUTS]) for given in sets]
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


GENERATOR = Generator(draw, _run)

"""The networks of random Keras models: written, run, and held against Keras.

Each runs with another batch, too, and where its steps are free, with other steps. Of those for
MindSpore some are compiled.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import keras
import numpy as np

from ckptconv import CkptconvError
from tests.differential.keras_models import build, save
from tests.differential.keras_models.draw import plan
from tests.differential.keras_models.spec import Plan
from tests.differential.outcome import Case, Generator, Outcome, Result, Void
from tests.network.written import flat, run_compiled, run_mindspore, run_torch, written

LIMIT = {"torch": 2e-5, "mindspore": 1.5e-4}  # MindSpore's tanh on CPU
WAYS = ("keras", "h5", "weights.h5, model.json")
TARGETS = {"torch": run_torch, "mindspore": run_mindspore}


COMPILED = 0.1


class Saved(NamedTuple):
    """A model, the way in which it is saved whole, and the framework it is written for.

    Attributes:
        free: the model takes any number of steps.
        compiled: a network of MindSpore is run compiled, too.
    """

    plan: Plan
    way: str
    target: str
    free: bool
    compiled: bool

    def __str__(self) -> str:
        said = [", any steps"] * self.free + [", compiled"] * self.compiled
        return f"{self.way} to {self.target}{''.join(said)}: {self.plan}"


def draw(seed: str) -> Saved:
    index, rng = int(seed.rpartition(":")[2]), Random(f"{seed}:network")
    drawn, target = plan(seed), list(TARGETS)[index // 3 % 2]
    free = rng.random() < 0.3 and len(drawn.shape) == 2 - drawn.tokens
    compiled = target == "mindspore" and rng.random() < COMPILED
    return Saved(drawn, WAYS[index % 3], target, free, compiled)


def _run(case: Case, tmp: Path) -> Outcome:
    drawn, way, target, free, compiled = case.data
    seed = zlib.crc32(case.text.encode())
    keras.backend.clear_session(free_memory=False)
    steps, *features = drawn.shape
    model = build.build(replace(drawn, shape=(None, *features)) if free else drawn)
    build.fill(model, seed)
    others = replace(drawn, shape=(steps + 3, *features)) if free else drawn
    sets = [build.example(drawn, seed), np.repeat(build.example(others, seed + 2), 2, 0)[1:]]
    for given in sets if drawn.tokens else []:
        given[0, :1], given[-1, -1:] = 0, 0  # what mask_zero leaves out
    try:
        outputs = [results(model, given) for given in sets]
    except Exception as error:
        raise Void(f"not run: {type(error).__name__}") from error
    path = save.save(model, way, tmp)
    stubs: list[str] = []
    while (error := _refusal(path, target, tmp, stubs)) is not None:
        if error.problem == "holds no parameters":
            raise Void("holds no parameters") from error
        advised = re.findall(r"stubs=\['([^']+)'\]", error.hint or "")
        if {*advised} <= {*stubs}:
            return Outcome(Result.SILENT, f"no way on: {error.problem}"[:70], str(error))
        stubs += advised
    if stubs:
        return Outcome(Result.REFUSED, "but for what is to be written by hand", str(stubs))
    module, weights, _ = answered(path, target, tmp)
    found = [TARGETS[target](module, weights, [given]) for given in sets]
    if compiled:
        found += run_compiled(module, weights, *[[given] for given in sets])
    return compared(found, outputs * (1 + compiled), target)


def answered(path: Path, target: str, tmp: Path, **options: Any) -> tuple[Any, Path, list[str]]:
    """Write a network, with the configuration beside it, which names its Keras where that is asked.

    Raises:
        CkptconvError: the file is refused, whatever was answered.
    """
    beside = path.with_name(save.CONFIGURATION)
    if not beside.exists():
        return written(path, target, tmp, **options)
    try:
        return written(path, target, tmp, config=beside, **options)
    except CkptconvError as error:
        if "keras_version" not in (error.hint or ""):
            raise
    named = json.loads(beside.read_text()) | {"keras_version": keras.__version__}
    beside.write_text(json.dumps(named))
    return written(path, target, tmp, config=beside, **options)


def attempt(
    make: Callable[[], Any], given: list[np.ndarray], target: str, tmp: Path, told: str
) -> Outcome:
    """Save the model that ``make`` returns, write its network, and run both on ``given``.

    A refusal counts as ``told``; what Keras itself refuses is void.
    """
    try:
        model = make()
        right = [keras.ops.convert_to_numpy(v) for v in flat(model(given, training=False))]
        path = save.save(model, "keras", tmp)
    except Exception as error:
        raise Void(f"not run: {type(error).__name__}") from error
    if not all(np.isfinite(value).all() for value in right):
        raise Void("its own output is not finite")
    try:
        module, weights, _ = answered(path, target, tmp)
    except CkptconvError as error:
        return Outcome(Result.REFUSED, told, str(error))
    try:
        found = TARGETS[target](module, weights, given)
    except Exception as error:
        return Outcome(Result.SILENT, "a network that does not run", repr(error))
    return compared([found], [right], target)


def results(model: Any, given: np.ndarray) -> list[np.ndarray]:
    """Return the outputs of a model of Keras."""
    return [np.asarray(value.detach()) for value in flat(model(given, training=False))]


def _refusal(path: Path, target: str, tmp: Path, stubs: list[str]) -> CkptconvError | None:
    try:
        answered(path, target, tmp, stubs=stubs)
    except CkptconvError as error:
        return error
    return None


def compared(runs: list[list[Any]], wanted: list[list[Any]], target: str) -> Outcome:
    """Hold the outputs of each run against the source's."""
    for run, (found, right) in enumerate(zip(runs, wanted, strict=True)):
        told = [[(v.shape, v.dtype) for v in values] for values in (found, right)]
        if told[0] != told[1]:
            told_of = f"run {run}: {told[0]} for {told[1]}"
            return Outcome(Result.SILENT, "other shapes or dtypes", told_of)
        worst = max(map(_distance, found, right))
        if not worst < LIMIT[target]:
            return Outcome(Result.SILENT, "other numbers", f"run {run}: {worst}")
    return Outcome(Result.EQUAL)


def _distance(found: np.ndarray, right: np.ndarray) -> float:
    one, other = found.astype(np.float64), right.astype(np.float64)
    return float((np.abs(one - other) / (1 + np.abs(other))).max(initial=0.0))


GENERATOR = Generator(draw, _run)

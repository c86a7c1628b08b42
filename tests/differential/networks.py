"""The networks of random Keras models: written, run, and held against Keras."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ckptconv import CkptconvError
from tests.differential.keras_models import build, save
from tests.differential.keras_models.draw import plan
from tests.differential.keras_models.spec import Plan
from tests.differential.outcome import Case, Generator, Outcome, Result, Void
from tests.network.written import flat, run_mindspore, run_torch, written

LIMIT = 2e-5
WAYS = ("keras", "h5")
TARGETS = {"torch": run_torch, "mindspore": run_mindspore}


class Saved(NamedTuple):
    """A model, the way in which it is saved whole, and the framework it is written for."""

    plan: Plan
    way: str
    target: str

    def __str__(self) -> str:
        return f"{self.way} to {self.target}: {self.plan}"


def draw(seed: str) -> Saved:
    index = int(seed.rpartition(":")[2])
    return Saved(plan(seed), WAYS[index % 2], list(TARGETS)[index // 2 % 2])


def _run(case: Case, tmp: Path) -> Outcome:
    import keras

    drawn, way, target = case.data
    seed = zlib.crc32(case.text.encode())
    keras.backend.clear_session(free_memory=False)
    model = build.build(drawn)
    build.fill(model, seed)
    given = build.example(drawn, seed)
    if drawn.tokens:
        given[0, :1], given[-1, -1:] = 0, 0  # what mask_zero leaves out
    try:
        outputs = flat(model(given, training=False))
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
    module, weights, _ = written(path, target, tmp)
    return _compared(TARGETS[target](module, weights, [given]), outputs)


def _refusal(path: Path, target: str, tmp: Path, stubs: list[str]) -> CkptconvError | None:
    try:
        written(path, target, tmp, stubs=stubs)
    except CkptconvError as error:
        return error
    return None


def _compared(found: list[Any], outputs: list[Any]) -> Outcome:
    wanted = [np.asarray(value.detach()) for value in outputs]
    if [f.shape for f in found] != [w.shape for w in wanted]:
        shapes = f"{[f.shape for f in found]}, not {[w.shape for w in wanted]}"
        return Outcome(Result.SILENT, "other shapes", shapes)
    pairs = zip(found, wanted, strict=True)
    worst = max(float((np.abs(f - w) / (1 + np.abs(w))).max()) for f, w in pairs)
    if not worst <= LIMIT:
        return Outcome(Result.SILENT, "other numbers", str(worst))
    return Outcome(Result.EQUAL)


GENERATOR = Generator(draw, _run)

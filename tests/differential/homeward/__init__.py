"""There and home again: random models, converted with random options, and back with ``restore``."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np

import ckptconv
from ckptconv import CkptconvError
from ckptconv.report import Report
from tests.differential.homeward import originals
from tests.differential.homeward.comparison import by_layer, compare
from tests.differential.homeward.ways import WAYS
from tests.differential.outcome import Case, Generator, Outcome, Result, asked_about
from tests.differential.piece import Arrays, Piece
from tests.differential.pieces import Question
from tests.differential.targets import SUFFIX, loaded
from tests.differential.torch_models.alter import TWISTS

_TARGETS = {
    "torch": ["mindspore", "mindspore", "mint", "keras", "torch"],
    "mindspore": ["torch", "torch", "keras", "mindspore"],
    "keras": ["torch", "mindspore"],
}
_OTHER = {"torch": ".safetensors", "mindspore": ".safetensors", "mint": ".safetensors"}
_OTHER |= {"keras": ".weights.h5"}
_ORIGINAL = 0.3
"""How many are Keras's, and are loaded by the original model when they are home."""


@dataclass(frozen=True)
class Trip:
    """A model as another generator draws it, where it goes, and by which ways of changing it."""

    seed: str
    framework: str
    model: Any
    target: str
    ways: tuple[str, ...]
    suffix: str
    twist: str = ""


class Origin(NamedTuple):
    """A saved model: its file, the tensors of the network in it, and who answers questions."""

    path: Path
    values: Arrays
    answers: Callable[[CkptconvError], dict[str, str]]
    options: Mapping[str, Any] = {}


def draw(seed: str) -> Trip | originals.Return:
    rng = Random(f"{seed}:trip")
    if rng.random() < _ORIGINAL:
        return originals.draw(seed, rng)
    framework = rng.choice(["torch", "torch", "torch", "torch", "mindspore", "keras"])
    ways = tuple(rng.choices(list(WAYS), k=rng.choice([0, 0, 1, 1, 1, 2])))
    target = rng.choice(_TARGETS[framework])
    twist = rng.choice(["", "", *TWISTS]) if framework == "torch" else ""
    suffix = rng.choice([SUFFIX[target], SUFFIX[target], _OTHER[target]])
    return Trip(seed, framework, _DRAW[framework](seed), target, ways, suffix, twist)


def _torch(trip: Trip, tmp: Path) -> Origin:
    from tests.differential import torch_models

    made = torch_models.built(trip.model, tmp, trip.twist)
    truth = torch_models.truth(made.model, made.pieces)
    question = Question(lambda _: None, made.pieces, made.prefix, trip.target, truth, tmp)
    return Origin(made.source, _values(made.pieces), question.true_kinds, made.options)


def _mindspore(trip: Trip, tmp: Path) -> Origin:
    from tests.differential import mindspore_models

    made = mindspore_models.built(trip.model, tmp)
    question = Question(lambda _: None, made.pieces, made.prefix, trip.target, made.truth, tmp)
    held = loaded(made.source, "mindspore").items()
    beside = {n: v for n, v in held if "_num" in n or n.startswith("ema.")}
    return Origin(made.source, _values(made.pieces) | beside, question.true_kinds)


def _keras(trip: Trip, tmp: Path) -> Origin:
    from tests.differential import keras_models

    made = keras_models.built(trip.model, tmp, zlib.crc32(trip.seed.encode()))
    return Origin(made.source, loaded(made.source, "keras"), made.answers)


def _values(pieces: list[Piece]) -> dict[str, np.ndarray]:
    return {name: value for piece in pieces for name, value in piece.values.items()}


def _drawn_by(module: str) -> Callable[[str], Any]:
    return lambda seed: import_module(f"tests.differential.{module}").draw(seed)


def _keras_plan(seed: str) -> Any:
    from tests.differential.keras_models.draw import plan

    return replace(plan(seed), saving="h5")


_DRAW = {
    "torch": _drawn_by("torch_models"),
    "mindspore": _drawn_by("mindspore_models"),
    "keras": _keras_plan,
}
_ORIGINS = {"torch": _torch, "mindspore": _mindspore, "keras": _keras}


def _run(case: Case, tmp: Path) -> Outcome:
    if isinstance(case.data, originals.Return):
        return originals.run(case.data, tmp)
    trip: Trip = case.data
    origin = _ORIGINS[trip.framework](trip, tmp)
    there, home = tmp / f"there{trip.suffix}", tmp / f"home{SUFFIX[trip.framework]}"
    try:
        out, options = _there(trip, origin, there)
    except CkptconvError as error:
        if error.problem == "not accounted for":
            return Outcome(Result.SILENT, error.problem, str(error))
        return Outcome(Result.VOID, f"not converted: {error.problem}"[:70], str(error))
    (tmp / "report.json").write_text(json.dumps(out.to_dict()))
    told = f"{options}\n{json.dumps(out.to_dict(), indent=1)}"
    try:
        back = ckptconv.convert(
            there, home, to=trip.framework, source=_source(trip), restore=tmp / "report.json"
        )
    except CkptconvError as error:
        asks = "asks what the report tells: " if asked_about(error) else ""
        return Outcome(Result.REFUSED, f"{asks}{error.problem}"[:90], f"{error}\n{told}")
    found, before = loaded(home, trip.framework), origin.values
    if trip.framework == "keras":
        found, before = by_layer(found), by_layer(before)
    problem = compare(found, before, out, back)
    if problem:
        notes = "\n".join(back.notes)
        return Outcome(Result.SILENT, problem.reason, f"{problem.detail}\n{notes}\n{told}")
    return Outcome(Result.NOTED if back.notes else Result.EQUAL)


def _source(trip: Trip) -> str:
    return "mindspore" if trip.target == "mint" else trip.target


def _there(trip: Trip, origin: Origin, there: Path) -> tuple[Report, dict[str, Any]]:
    """Convert, answer what is asked with the truth, and again with options that fit the report."""
    rng = Random(f"{trip.seed}:ways")
    given = dict(origin.options)

    def convert(**options: Any) -> Report:
        options = {**given, **options}
        return ckptconv.convert(origin.path, there, to=trip.target, force=True, **options)

    for _ in range(3):
        try:
            report = convert()
            break
        except CkptconvError as error:
            answers = _answers(error, origin)
            if not answers or answers.items() <= given.items():
                raise
            given |= answers
    else:
        report = convert()
    options: dict[str, Any] = {}
    for way in trip.ways:
        options |= WAYS[way](report, rng)
    return (convert(**options) if options else report), options


def _answers(error: CkptconvError, origin: Origin) -> dict[str, Any]:
    allowed = re.search(r"allow=\['(\w+)'\]", str(error))
    kinds = origin.answers(error)
    return {"kinds": kinds} if kinds else {"allow": [allowed[1]]} if allowed else {}


GENERATOR = Generator(draw, _run)

"""There and home again: random models, converted with random options, and back with ``restore``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import ckptconv
from ckptconv import CkptconvError
from ckptconv.report import Report
from tests.differential.homeward.comparison import Problem, compare, is_rounded
from tests.differential.homeward.ways import WAYS
from tests.differential.outcome import Case, Generator, Outcome, Result, asked_about
from tests.differential.piece import Arrays
from tests.differential.pieces import Question
from tests.differential.targets import SUFFIX, loaded

_TARGETS = {
    "torch": ["mindspore", "mindspore", "mint", "keras", "torch"],
    "mindspore": ["torch", "torch", "keras", "mindspore"],
}


@dataclass(frozen=True)
class Trip:
    """A model as another generator draws it, where it goes, and by which ways of changing it."""

    seed: str
    framework: str
    model: Any
    target: str
    ways: tuple[str, ...]


class Origin(NamedTuple):
    """A saved model: its file, the tensors of the network in it, and who answers questions."""

    path: Path
    values: Arrays
    question: Question
    options: Mapping[str, Any]


def draw(seed: str) -> Trip:
    rng = Random(f"{seed}:trip")
    framework = rng.choice(["torch", "torch", "torch", "mindspore"])
    if framework == "torch":
        from tests.differential.torch_models import draw as model
    else:
        from tests.differential.mindspore_models import draw as model
    ways = tuple(rng.choices(list(WAYS), k=rng.choice([0, 0, 1, 1, 1, 2])))
    return Trip(seed, framework, model(seed), rng.choice(_TARGETS[framework]), ways)


def _origin(trip: Trip, tmp: Path) -> Origin:
    if trip.framework == "torch":
        from tests.differential import torch_models

        beside = {}
        made = torch_models.built(trip.model, tmp)
        options, truth = made.options, torch_models.truth(made.model, made.pieces)
    else:
        from tests.differential import mindspore_models

        made = mindspore_models.built(trip.model, tmp)
        options, truth = {}, made.truth
        beside = {n: v for n, v in loaded(made.source, "mindspore").items() if "_num" in n}
    values = {name: value for piece in made.pieces for name, value in piece.values.items()}
    values |= beside  # a count of steps
    question = Question(lambda _: None, made.pieces, made.prefix, trip.target, truth, tmp)
    return Origin(made.source, values, question, options)


def _run(case: Case, tmp: Path) -> Outcome:
    trip: Trip = case.data
    origin = _origin(trip, tmp)
    there, home = tmp / f"there{SUFFIX[trip.target]}", tmp / f"home{SUFFIX[trip.framework]}"
    try:
        out, options = _there(trip, origin, there)
    except CkptconvError as error:
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
    found = loaded(home, trip.framework)
    problem = compare(found, origin.values, out, back)
    exact = {"gates", "forget_bias", "z_convention", "fold_bias"}.isdisjoint(options)
    if not problem and exact and not is_rounded(found, origin.values):
        problem = Problem("other values than a cast's", "")
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
    kinds = origin.question.true_kinds(error)
    return {"kinds": kinds} if kinds else {"allow": [allowed[1]]} if allowed else {}


GENERATOR = Generator(draw, _run)

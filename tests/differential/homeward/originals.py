"""Trained elsewhere and home into the original Keras model: Keras itself loads what is written.

The oracle is Keras: a model with other values is converted as what training made of the original,
comes home by what is kept of the original, and must give that model exactly these values.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import ckptconv
from ckptconv import CkptconvError
from ckptconv.report import Report
from tests.differential.keras_models.spec import Plan
from tests.differential.outcome import Outcome, Result, asked_about
from tests.differential.targets import SUFFIX

_LAYOUTS = {
    **dict.fromkeys(("keras", "weights.h5", "sharded"), ".weights.h5"),
    **dict.fromkeys(("h5", "h5 weights", "keras 2 h5"), ".h5"),
}
"""The ways in which the original is kept, and what its weights are loaded from."""


@dataclass(frozen=True)
class Return:
    """A model, and how it comes home.

    Attributes:
        model: with the way in which it was saved before it was converted.
        kept: the way in which the file is saved that ``like`` names, ``""`` for the report alone.
        suffix: of what is written at home.
    """

    seed: str
    model: Plan
    kept: str
    suffix: str


def draw(seed: str, rng: Random) -> Return:
    from tests.differential.keras_models.draw import plan

    drawn = plan(seed)
    target = "mindspore" if drawn.target == "mindspore" else "torch"
    saving = rng.choice([drawn.saving if drawn.saving in _LAYOUTS else "keras", *_LAYOUTS])
    if drawn.model.name == "Subclassed":
        saving = "weights.h5"
    model = replace(drawn, saving=saving, target=target, quantize="", lora=False, fuse=False)
    kept = rng.choice(["", saving, *_LAYOUTS] if saving != "weights.h5" else ["", saving])
    suffix = rng.choice([*[_LAYOUTS[kept or saving]] * 20, *_LAYOUTS.values()])
    return Return(seed, model, kept, suffix)


def run(back: Return, tmp: Path) -> Outcome:
    from tests.differential import keras_models
    from tests.differential.keras_models import build, save

    seed = zlib.crc32(back.seed.encode())
    made = keras_models.built(back.model, tmp, seed)
    given: dict[str, Any] = {}
    if back.kept:
        (tmp / "kept").mkdir()
        given["like"] = save.save(made.model, back.kept, tmp / "kept")
    there, home = tmp / f"there{SUFFIX[back.model.target]}", tmp / f"home{back.suffix}"
    try:
        report = _asked(made, made.source, there, to=back.model.target)
        if not back.kept:
            (tmp / "report.json").write_text(json.dumps(report.to_dict()))
            given["restore"] = tmp / "report.json"
        build.fill(made.model, seed + 1)
        (tmp / "trained").mkdir()
        trained = save.save(made.model, back.model.saving, tmp / "trained")
        _asked(made, trained, there, to=back.model.target, force=True)
    except CkptconvError as error:
        return Outcome(Result.VOID, f"not converted: {error.problem}"[:70], str(error))
    wanted = [np.array(v) for v in _values(made.model)]
    try:
        report = _asked(made, there, home, to="keras", source=back.model.target, **given)
    except CkptconvError as error:
        asks = "asks what the original tells: " if asked_about(error) else ""
        return Outcome(Result.REFUSED, f"{asks}{error.problem}"[:90], str(error))
    build.fill(made.model, seed + 2)
    return _loaded(made.model, home, wanted, report)


def _asked(made: Any, source: Path, target: Path, /, **options: Any) -> Report:
    """Convert; where the message asks for kinds of layers, once more with what they are."""
    convert: Callable[..., Report] = ckptconv.convert
    try:
        return convert(source, target, **options)
    except CkptconvError as error:
        answers = made.answers(error)
        if not answers:
            raise
        return convert(source, target, **options, kinds=answers)


def _loaded(model: Any, home: Path, wanted: list[np.ndarray], report: Report) -> Outcome:
    notes = "\n".join(report.notes)
    told = any("original" in note for note in report.notes)
    try:
        model.load_weights(home)
    except Exception as error:
        why = f"not loaded: {type(error).__name__}"
        detail = f"{error}\n{notes}\n{json.dumps(report.to_dict(), indent=1)}"
        return Outcome(Result.NOTED if told else Result.SILENT, why, detail)
    pairs = zip(model.weights, _values(model), wanted, strict=True)
    wrong = [v.path for v, found, value in pairs if not np.array_equal(found, value)]
    if wrong:
        return Outcome(Result.SILENT, "loaded, with other values", f"{wrong}\n{notes}")
    return Outcome(Result.EQUAL)


def _values(model: Any) -> list[np.ndarray]:
    return [np.asarray(variable.detach().cpu()) for variable in map(_tensor, model.weights)]


def _tensor(variable: Any) -> Any:
    return variable.value

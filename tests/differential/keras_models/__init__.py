"""Keras as a source: random models, saved in every way, converted to torch and MindSpore."""

from __future__ import annotations

import itertools
import os
import re
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np

import ckptconv
from ckptconv import CkptconvError
from ckptconv.dialects.keras.layers import FORMS
from ckptconv.graph.forms import classes
from ckptconv.graph.kinds import KINDS
from tests.differential.keras_models import build, save
from tests.differential.keras_models.compare import Source, compare
from tests.differential.keras_models.draw import plan
from tests.differential.keras_models.spec import Plan
from tests.differential.outcome import Case, Generator, Outcome, Result, Void, asked_about
from tests.differential.targets import SUFFIX

_CLASSES = classes(FORMS)


class Built(NamedTuple):
    """A model, how its layers are called, and the file that it is saved in."""

    model: Any
    calls: Mapping[int, Any]
    source: Path

    def answers(self, error: CkptconvError) -> dict[str, str]:
        """Return the kinds that a message asks for."""
        asked = asked_about(error)
        return {path: kind for path in asked if (kind := _true_kind(path, self.model, self.calls))}


def built(drawn: Plan, tmp: Path, seed: int) -> Built:
    """Make and save the model of a plan.

    Raises:
        Void: Keras cannot make, run or save it.
    """
    import keras

    keras.backend.clear_session(free_memory=False)  # collecting garbage takes long
    model = build.build(drawn)
    if all("seed" in variable.path for variable in model.variables):
        raise Void("holds no parameters")
    build.fill(model, seed)
    _alter(model, drawn)
    with build.recording() as calls:
        try:
            model(build.example(drawn, seed), training=False)
        except Exception as error:
            raise Void(f"not run: {type(error).__name__}") from error
    return Built(model, calls, save.save(model, drawn.saving, tmp))


def _run(case: Case, tmp: Path) -> Outcome:
    drawn: Plan = case.data
    made = built(drawn, tmp, zlib.crc32(case.text.encode()))
    model, calls, path = made
    target = tmp / f"out{SUFFIX[drawn.target]}"
    beside = tmp / save.CONFIGURATION
    convert = partial(
        ckptconv.convert, path, target, to=drawn.target, config=beside if beside.exists() else None
    )
    try:
        report = _answered(convert, made)
        if drawn.fuse:
            report = _fused(convert, report)
    except CkptconvError as error:
        if error.problem == "holds no parameters":  # but a random generator's state
            raise Void("holds no parameters") from error
        if not _named(error, model):
            return Outcome(Result.SILENT, f"refused without a layer: {error.problem}", str(error))
        if stuck := _stuck(convert, made):
            return Outcome(Result.SILENT, f"no way on: {stuck.problem}", str(stuck))
        return Outcome(Result.REFUSED, _reason(error), str(error))
    configured = drawn.saving in save.CONFIGURED
    return compare(Source(model, calls, path, configured), report, target, drawn.target)


def _alter(model: Any, drawn: Plan) -> None:
    import keras

    inner = [*model._flatten_layers()]
    dense = [x for x in inner if type(x) is keras.layers.Dense]
    tables = [x for x in inner if type(x) is keras.layers.Embedding]
    rng = np.random.default_rng(len(dense))
    try:
        if drawn.lora:
            for layer in (*dense, *tables):
                layer.enable_lora(1)
                for variable in (x for x in layer.variables if x.name.startswith("lora_")):
                    variable.assign(rng.normal(size=variable.shape).astype("f4"))
        for layer in dense if drawn.quantize else []:
            layer.quantize(drawn.quantize)
    except Exception as error:
        raise Void(f"not altered: {type(error).__name__}") from error


def _fused(convert: Callable[..., Any], report: Any) -> Any:
    """Convert again with two recurrent layers made one, where two follow one another.

    Of the cells of one layer all are taken: what one in the middle gives is nowhere to be seen.
    """
    kinds = ("LSTM", "GRU", "RNN")
    pairs = [
        (a.path, b.path)
        for a, b in itertools.pairwise(report.layers)
        if a.kind == b.kind and a.kind in kinds
    ]
    if not pairs:
        return report
    parts, home = pairs[0], pairs[0][0].rpartition(".")[0]
    if home and all(part.startswith(f"{home}.") for part in parts):
        parts = tuple(x.path for x in report.layers if x.path.rpartition(".")[0] == home)
    return convert(fuse=[("fused", parts)], force=True)


def _answered(convert: Callable[..., Any], made: Built) -> Any:
    """Convert; where the message asks for kinds of layers, once more with what they are."""
    try:
        return convert()
    except CkptconvError as error:
        answers = made.answers(error)
        if not answers:
            raise
        return convert(kinds=answers)


def _stuck(convert: Callable[..., Any], made: Built) -> CkptconvError | None:
    """Return the error, if any, after whose advice on kinds a conversion still has no other."""
    kinds: dict[str, str] = {}
    while (error := _refusal(convert, kinds)) is not None:
        kept = dict.fromkeys(re.findall(r"'([^']+)': 'Parameter'", error.hint or ""), "Parameter")
        advised = {**made.answers(error), **kept}
        if not error.hint or (kept and kept.items() <= kinds.items()):
            return error
        if advised.items() <= kinds.items():
            return None
        kinds |= advised
    return None


def _refusal(convert: Callable[..., Any], kinds: Mapping[str, str]) -> CkptconvError | None:
    try:
        convert(kinds=kinds, dry_run=True)
    except CkptconvError as error:
        return error
    return None


def _true_kind(path: str, model: Any, calls: Mapping[int, Any]) -> str:
    """Return what the only layer of this name is, ``""`` where that is not one kind."""
    name = path.rpartition(".")[2]
    named = (layer for layer in model._flatten_layers() if layer.name == name)
    found = [getattr(model, name)] if hasattr(model, name) else list(named)
    if len(found) != 1 or not type(found[0]).__module__.startswith("keras."):
        return ""
    (layer,) = found
    given = calls[id(layer)].given[0][0][0] if id(layer) in calls else None
    ranks = (0, max(1, len(getattr(given, "shape", ())) - 2))
    kinds = [k for k in _CLASSES.get(type(layer).__name__, ()) if KINDS[k].rank in ranks]
    told = f"(reset_after={layer.reset_after})" if "GRU" in kinds else ""
    return kinds[0] + told if len(kinds) == 1 else ""


def _named(error: CkptconvError, model: Any) -> bool:
    """Tell whether an error says which layer it is about."""
    names = (layer.name for layer in model._flatten_layers(include_self=False))
    return bool(error.tensor) or any(name in str(error) for name in names)


def _reason(error: CkptconvError) -> str:
    """Return the problem without what is this case's own."""
    return re.sub(r"[\w.]*_\d+\b|\w+\.[\w.]+", "…", error.problem)[:70]


GENERATOR = Generator(plan, _run)

"""What ``verify`` says of random conversions: the same model, and not so once one thing is changed.

The models are those of the generators of torch, Keras and MindSpore; now and then their layers
are run in the frameworks, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

import ckptconv
from ckptconv import CkptconvError, formats
from ckptconv.options import ReadKeywords
from ckptconv.tensors.tensor import ArrayTensor
from tests.differential import keras_models, mindspore_models, torch_models
from tests.differential.outcome import Case, Generator, Outcome, Result, Void

_BASES = {"torch": torch_models, "keras": keras_models, "mindspore": mindspore_models}
Arrays = dict[str, np.ndarray]


class Drawn(NamedTuple):
    base: str
    model: Any
    run: bool
    seed: str

    def __str__(self) -> str:
        return f"{self.model}, from {self.base}{', run' * self.run}"


def _draw(seed: str) -> Drawn:
    rng = Random(f"{seed}:proofs")
    base = rng.choice([*_BASES])
    return Drawn(base, _BASES[base].GENERATOR.draw(seed), rng.random() < 0.3, seed)


def _run(case: Case, tmp: Path) -> Outcome:
    drawn: Drawn = case.data
    source, target, options = _converted(drawn, tmp)
    try:
        proof = ckptconv.verify(source, target, run=drawn.run, **options)
    except CkptconvError as error:
        return Outcome(Result.REFUSED, error.problem[-70:], str(error))
    if not proof.ok:
        causes = [(layer.source, layer.cause) for layer in proof.layers if not layer.ok]
        return Outcome(Result.SILENT, "a conversion that is called wrong", str(causes))
    rng, changed = Random(drawn.seed), tmp / f"changed{''.join(target.suffixes)}"
    told = _change(rng, target, changed)
    if told and _is_ok(source, changed, options):
        return Outcome(Result.SILENT, "a change that is not seen", told)
    return Outcome(Result.EQUAL, told.partition(" ")[0])


def _converted(drawn: Drawn, tmp: Path) -> tuple[Path, Path, dict[str, Any]]:
    """Return the files of the last conversion of a model, and how its source was read.

    Raises:
        Void: there was none, or it was asked to change numbers.
    """
    done: list[tuple[Path, Path, dict[str, Any]]] = []
    convert = ckptconv.convert

    def recorded(source: Path, target: Path, **options: Any) -> Any:
        report = convert(source, target, **options)
        if report.written:
            done.append((source, target, options))
        return report

    base = _BASES[drawn.base].GENERATOR
    with mock.patch.object(ckptconv, "convert", recorded):
        base.run(Case(0, str(drawn.model), drawn.model), tmp)
    if not done or done[-1][2].get("dtype"):
        raise Void("not converted")
    source, target, options = done[-1]
    reading = {name: options[name] for name in ReadKeywords.__annotations__ if options.get(name)}
    return source, target, reading


def _is_ok(source: Path, changed: Path, options: dict[str, Any]) -> bool:
    try:
        return bool(ckptconv.verify(source, changed, **options).ok)
    except CkptconvError:
        return False


def _change(rng: Random, path: Path, changed: Path) -> str:
    """Write a file with one thing changed; return what, or nothing where nothing could be."""
    checkpoint = ckptconv.inspect(path)
    arrays = {n: t.numpy() for n, t in checkpoint.tensors.items() if t.dtype.kind == "f" and t.size}
    names = rng.sample([*arrays], len(arrays))
    way = rng.choice([*_WAYS])
    for name in names:
        made = _WAYS[way](rng, name, arrays)
        news = {n: a for n, a in made.items() if not np.array_equal(a, arrays[n], equal_nan=True)}
        if news:
            tensors = {**checkpoint.tensors, **{n: ArrayTensor(a) for n, a in news.items()}}
            formats.write(replace(checkpoint, tensors=tensors), os.fspath(changed))
            return f"{way} of {', '.join(news)}"
    return ""


def _value(rng: Random, name: str, arrays: Arrays) -> Arrays:
    array = arrays[name].copy()
    array.flat[rng.randrange(array.size)] += array.dtype.type(0.25)
    return {name: array}


def _exchange(_: Random, name: str, arrays: Arrays) -> Arrays:
    """Biases of a recurrent layer may change places: their sum is what counts."""
    alike = [n for n, a in arrays.items() if a.shape == arrays[name].shape and "bias" not in n]
    other = next((n for n in alike if n != name and "bias" not in name), name)
    return {name: arrays[other], other: arrays[name]}


def _transpose(_: Random, name: str, arrays: Arrays) -> Arrays:
    array = arrays[name]
    square = array.ndim == 2 and array.shape[0] == array.shape[1]
    return {name: array.T.copy() if square else array}


def _blocks(rng: Random, name: str, arrays: Arrays) -> Arrays:
    array = arrays[name]
    fitting = [
        (n, axis) for axis, size in enumerate(array.shape) for n in (2, 3, 4) if not size % n
    ]
    if not fitting:
        return {}
    count, axis = rng.choice(fitting)
    first, second, *rest = np.split(array, count, axis)
    return {name: np.concatenate([second, first, *rest], axis)}


def _negation(_: Random, name: str, arrays: Arrays) -> Arrays:
    return {name: -arrays[name]}


_WAYS: dict[str, Callable[[Random, str, Arrays], Arrays]] = {
    "a value": _value,
    "an exchange": _exchange,
    "a transpose": _transpose,
    "an exchange of blocks": _blocks,
    "a negation": _negation,
}
GENERATOR = Generator(_draw, _run)

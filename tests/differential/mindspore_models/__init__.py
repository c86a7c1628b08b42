"""MindSpore as a source: random models and what trains them, converted to torch and MindSpore."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

os.environ.setdefault("GLOG_v", "3")

import mindspore as ms
import numpy as np
from mindspore import nn

import ckptconv
from ckptconv.report import Report
from tests.differential.mindspore_models.layers import PREFIXES, RECIPES, WEIGHTS, Made, fill
from tests.differential.mindspore_models.save import SHARES, WRAPS, save
from tests.differential.outcome import Case, Generator, Outcome, Void
from tests.differential.piece import Piece, array, in_order, inside, named
from tests.differential.pieces import Question, examine
from tests.differential.running import called, first
from tests.differential.targets import SUFFIX, loaded

_CLASSES = {"Dense": "Linear", "PReLU": "PReLU", "BatchNorm2d": "BatchNorm2d"}
_CLASSES |= {f"Conv{n}dTranspose": f"ConvTranspose{n}d" for n in (1, 2, 3)}


@dataclass(frozen=True)
class Plan:
    """What a case is built from: (path, recipe) of each layer."""

    seed: str
    layers: tuple[tuple[str, str], ...]
    wrapping: str
    suffix: str
    target: str
    written: str = ""


def draw(seed: str) -> Plan:
    rng = Random(seed)
    layers: dict[str, str] = {}
    prefix = rng.choice(PREFIXES)
    for recipe in in_order(rng, rng.choices(list(RECIPES), WEIGHTS, k=rng.choice([1, 2, 3, 4]))):
        path = prefix + named(rng, recipe, RECIPES)
        if not any(inside(path, other) or inside(other, path) for other in layers):
            layers[path] = recipe
    (wrapping,) = rng.choices(list(WRAPS), SHARES)
    suffix = rng.choice([".ckpt", ".ckpt", ".ckpt", ".safetensors"])
    target = rng.choice(["torch", "torch", "keras", "mindspore"])
    alone = ".weights.h5" if target == "keras" and len(layers) == 1 else ""
    return Plan(seed, tuple(layers.items()), wrapping, suffix, target, alone)


def _network(made: Mapping[str, Made]) -> Any:
    """Put the Cells under their dotted paths, the innermost first."""
    tree: dict[str, Any] = {}
    for path, one in made.items():
        at = tree
        *way, last = path.split(".")
        for step in way:
            at = at.setdefault(step, {})
        at[last] = one.cell
    return _nested(tree)


def _nested(tree: Mapping[str, Any]) -> Any:
    cell = nn.Cell()
    for name, value in tree.items():
        setattr(cell, name, _nested(value) if isinstance(value, dict) else value)
    return cell


class Built(NamedTuple):
    """A network, the file that it is saved in, and what the generator knows of both."""

    network: Any
    pieces: list[Piece]
    source: Path
    prefix: str
    truth: dict[str, str]


def built(plan: Plan, tmp: Path) -> Built:
    """Make and save the network of a plan.

    Raises:
        Void: MindSpore cannot make or save it.
    """
    rng = Random(f"{plan.seed}:build")
    ms.set_seed(rng.randrange(1 << 30))
    made = {path: RECIPES[recipe][0](rng) for path, recipe in plan.layers}
    inputs = {path: [array(shape, rng) for shape in one.shapes] for path, one in made.items()}
    try:
        network = _network(made)
        fill(network, rng)
        expected = {path: _expected(one, inputs[path]) for path, one in made.items()}
        own = {path: list(one.cell.get_parameters()) for path, one in made.items()}
        truth = _truth(made)  # before a wrapper changes the names
        whole, prefix = WRAPS[plan.wrapping](network, rng)
        source = tmp / f"m{plan.suffix}"
        save(whole, source, rng)
    except Exception as error:
        raise Void(f"not made: {type(error).__name__}: {error}".splitlines()[0][:70]) from error
    pieces = [
        Piece(
            path,
            one.kind,
            inputs[path],
            expected[path],
            {p.name for p in own[path]},
            one.hyper,
            one.wholes,
            values={p.name: p.asnumpy() for p in own[path]},
        )
        for path, one in made.items()
    ]
    return Built(network, pieces, source, prefix if plan.wrapping == "wrapped" else "", truth)


def _run(case: Case, tmp: Path) -> Outcome:
    plan: Plan = case.data
    _, pieces, source, prefix, truth = built(plan, tmp)
    written = tmp / f"out{plan.written or SUFFIX[plan.target]}"
    return examine(
        Question(
            lambda kinds: _convert(source, written, plan.target, kinds),
            pieces,
            prefix,
            plan.target,
            truth,
            written,
        )
    )


def _expected(one: Made, given: list[np.ndarray]) -> np.ndarray:
    one.cell.set_train(False)
    return first(called(one.cell, one.kind, [ms.Tensor(a) for a in given]))


def _truth(made: Mapping[str, Made]) -> dict[str, str]:
    truth: dict[str, str] = {}
    for path, one in made.items():
        if one.kind:
            hyper = ", ".join(f"{k}={v!r}" for k, v in one.hyper.items())
            truth[path] = f"{one.kind}({hyper})"
            continue
        for below, cell in one.cell.cells_and_names():
            where = f"{path}.{below}" if below else path
            name = type(cell).__name__
            if any("." not in p.name.removeprefix(where + ".") for p in cell.get_parameters()):
                truth[where] = _CLASSES.get(name, name if name != "Own" else "Parameter")
    return truth


def _convert(
    source: Path, written: Path, target: str, kinds: Mapping[str, str]
) -> tuple[Report, dict[str, np.ndarray]]:
    report = ckptconv.convert(source, written, to=target, kinds=dict(kinds), force=True)
    return report, loaded(written, target)


GENERATOR = Generator(draw, _run)

"""torch as a source: random models, saved in every way, converted to MindSpore and to torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

import ckptconv
from ckptconv.live.arrays import torch_array
from ckptconv.report import Report
from tests.differential.outcome import Case, Generator, Outcome, Void
from tests.differential.piece import Piece, array, in_order, inside, named
from tests.differential.pieces import Question, examine
from tests.differential.running import called, first
from tests.differential.targets import SUFFIX, loaded
from tests.differential.torch_models.alter import ALTERATIONS, TWISTS, alter
from tests.differential.torch_models.layers import PREFIXES, RECIPES, WEIGHTS, Made, fill
from tests.differential.torch_models.save import SAVES, SHARES, TELLING

_OWN = "torch.nn.modules."
_NONE = np.zeros(0, "f4")


@dataclass(frozen=True)
class Plan:
    """What a case is built from: (path, recipe, alteration) of each layer."""

    seed: str
    layers: tuple[tuple[str, str, str], ...]
    saving: str
    target: str
    written: str = ""
    twist: str = ""


def draw(seed: str) -> Plan:
    rng = Random(seed)
    layers: dict[str, tuple[str, str]] = {}
    prefix = rng.choice(PREFIXES)
    chain = rng.random() < 0.15  # a Sequential's, where layers of all kinds differ in numbers alone
    count = rng.choice([4, 5, 6] if chain else [1, 2, 3, 4])
    for recipe in in_order(rng, rng.choices(list(RECIPES), WEIGHTS, k=count)):
        path = prefix + (f"seq.{len(layers)}" if chain else named(rng, recipe, RECIPES))
        how = rng.choice(list(ALTERATIONS)) if rng.random() < 0.08 else ""
        if not any(inside(path, other) or inside(other, path) for other in layers):
            layers[path] = recipe, how
    if len(layers) == 1 and rng.random() < 0.1:
        layers = {"": next(iter(layers.values()))}
    (saving,) = rng.choices(list(SAVES), SHARES)
    target = rng.choice(["mindspore", "mindspore", "mint", "torch", "keras"])
    alone = ".weights.h5" if target == "keras" and len(layers) == 1 else ""
    drawn = tuple((p, r, h) for p, (r, h) in layers.items())
    twist = "float64" if rng.random() < 0.06 else ""
    return Plan(seed, drawn, saving, target, alone, twist)


class Network(nn.Module):
    """Layers under dotted paths; each gets inputs of its own."""

    def __init__(self, made: Mapping[str, Made], inputs: Mapping[str, list[np.ndarray]]) -> None:
        super().__init__()
        self._kinds = {path: one.kind for path, one in made.items()}
        self.example = tuple(torch.from_numpy(a) for given in inputs.values() for a in given)
        for path, one in made.items():
            at: nn.Module = self
            *way, last = path.split(".")
            for step in way:
                if step not in dict(at.named_children()):
                    at.add_module(step, nn.Module())
                at = getattr(at, step)
            at.add_module(last, one.module)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rest, results = list(inputs), []
        for path, kind in self._kinds.items():
            count = {"LSTMCell": 3, "GRUCell": 2, "RNNCell": 2, "Bilinear": 2}.get(kind, 1)
            count = 3 if kind == "MultiheadAttention" else count
            given, rest = rest[:count], rest[count:]
            result = called(self.get_submodule(path), kind, given)
            results.append(result[0] if isinstance(result, tuple) else result)
        return tuple(results)


class Built(NamedTuple):
    """A model, the file that it is saved in, and what the generator knows of both."""

    model: nn.Module
    pieces: list[Piece]
    source: Path
    prefix: str
    options: Mapping[str, str]


def built(plan: Plan, tmp: Path, twist: str | None = None) -> Built:
    """Make and save the model of a plan.

    Args:
        twist: what is done to its tensors first, of ``alter.TWISTS``, instead of the plan's; it is
            not run then.

    Raises:
        Void: torch cannot make or save it.
    """
    rng = Random(f"{plan.seed}:build")
    torch.manual_seed(rng.randrange(1 << 30))
    made = {path: RECIPES[recipe][0](rng) for path, recipe, _ in plan.layers}
    try:
        for path, _, how in plan.layers:
            if how:
                alter(made[path].module, how, rng)
            fill(made[path].module, rng)
        inputs = {path: [array(s, rng) for s in one.shapes] for path, one in made.items()}
        if "" in made:
            model: nn.Module = made[""].module
            model.example = tuple(torch.from_numpy(a) for a in inputs[""])
        else:
            model = Network(made, inputs)
        model.eval()
        TWISTS[plan.twist if twist is None else twist](model, rng)
        save, suffix = SAVES[plan.saving]
        source = tmp / f"m{suffix}"
        if not model.state_dict():
            raise Void("no parameters")
        prefix, options = save(model, source, rng)
        with torch.no_grad():  # after saving, which may take a step of training
            expected = {
                path: first(called(one.module.float(), one.kind, _tensors(inputs[path])))
                for path, one in made.items()
                if not twist
            }
    except Exception as error:
        raise Void(f"not made: {type(error).__name__}: {error}"[:70]) from error
    pieces = [
        _piece(path, one, inputs[path], expected.get(path, _NONE), prefix, plan.saving)
        for path, one in made.items()
    ]
    return Built(model, pieces, source, prefix, options)


def _run(case: Case, tmp: Path) -> Outcome:
    plan: Plan = case.data
    model, pieces, source, prefix, options = built(plan, tmp)
    live = model if plan.saving == "live" else None
    written = tmp / f"out{plan.written or SUFFIX[plan.target]}"
    return examine(
        Question(
            lambda kinds, **more: _convert(
                source, written, plan.target, kinds, {**options, **more}, live
            ),
            pieces,
            prefix,
            plan.target,
            truth(model, pieces),
            written,
        )
    )


def _tensors(arrays: list[np.ndarray]) -> list[torch.Tensor]:
    return [torch.from_numpy(a) for a in arrays]


def _piece(
    path: str, one: Made, given: list[np.ndarray], expected: np.ndarray, prefix: str, saving: str
) -> Piece:
    dot = f"{path}." if path else ""
    values = {prefix + dot + n: torch_array(t) for n, t in one.module.state_dict().items()}
    return Piece(
        path,
        one.kind,
        given,
        expected,
        set(values),
        one.hyper,
        one.wholes,
        saving in TELLING,
        values,
    )


def truth(model: nn.Module, pieces: list[Piece]) -> dict[str, str]:
    """What each module that holds parameters is, as a user would say it."""
    known = {p.path: p.answer for p in pieces if not p.wholes and p.sources}
    for path, module in model.named_modules():
        ours = type(module).__module__.startswith(_OWN) and module.state_dict()
        leaf = not [*module.children()] or isinstance(module, nn.MultiheadAttention)
        if ours and leaf and "parametrizations" not in path and "out_proj" not in path:
            kind = type(module).__name__
            known.setdefault(path, "Parameter" if kind == "ParameterList" else kind)
    return known


def _convert(
    source: Path,
    written: Path,
    target: str,
    kinds: Mapping[str, str],
    options: Mapping[str, str],
    live: nn.Module | None,
) -> tuple[Report, dict[str, np.ndarray]]:
    if live is not None:
        graph, dtype = ckptconv.from_torch(live), options.get("dtype")
        report = ckptconv.save(graph, written, to=target, force=True, dtype=dtype)
    else:
        report = ckptconv.convert(
            source, written, to=target, kinds=dict(kinds), force=True, **options
        )
    return report, loaded(written, target)


GENERATOR = Generator(draw, _run)

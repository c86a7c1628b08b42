"""Networks of random torch.export programs: functions, layers, views and changes in place.

A program is steps over the values so far; the last ones are all given, so that a change in place
that reaches too few of them, or too many, is seen.
"""

# ruff: noqa: ARG005 (functions of one signature)
from __future__ import annotations

import contextlib
import logging
import random
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ckptconv import CkptconvError
from tests.differential.networks import TARGETS
from tests.differential.outcome import Case, Generator, Outcome, Result, Void
from tests.network.written import flat, written
from tests.networks import fill

LIMIT, FEATURES, GIVEN = 2e-5, 6, 3


class Step(NamedTuple):
    """One operation: its name, which values so far it takes (counted from the last), numbers."""

    name: str
    at: tuple[int, int]
    number: float
    whole: int
    flag: bool


class Program(NamedTuple):
    """Steps, and the framework that their network is written for."""

    target: str
    steps: tuple[Step, ...]


def draw(seed: str) -> Program:
    rng = random.Random(seed)
    steps = tuple(
        Step(
            rng.choice(NAMES),
            (rng.choice((0, 0, 0, 1, 2)), rng.randrange(4)),
            rng.choice((0.5, 1.0, 2.0, -0.7)),
            rng.randrange(-2, 3),
            rng.random() < 0.5,
        )
        for _ in range(rng.randint(2, 6))
    )
    return Program(list(TARGETS)[int(seed.rpartition(":")[2]) % 2], steps)


def _functions() -> dict[str, Any]:
    """Return name → function of (model, x, y, step)."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    return {
        "layer": lambda m, x, y, s: m.first(x),
        "other": lambda m, x, y, s: m.second(x),
        "norm": lambda m, x, y, s: m.norm(x),
        "batch_norm": lambda m, x, y, s: m.batch(x),
        "linear": lambda m, x, y, s: F.linear(x, m.first.weight, m.first.bias if s.flag else None),
        "mixed": lambda m, x, y, s: F.linear(x, m.first.weight, (m.first, m.second)[s.flag].bias),
        "layer_norm": lambda m, x, y, s: F.layer_norm(
            x, (FEATURES,), m.norm.weight, m.norm.bias if s.flag else None, abs(s.number) * 1e-2
        ),
        "bare": lambda m, x, y, s: x * m.scale,
        "relu": lambda m, x, y, s: F.relu(x, inplace=s.flag),
        "add": lambda m, x, y, s: torch.add(x, y, alpha=s.number if s.flag else 1),
        "sub": lambda m, x, y, s: torch.sub(x, s.number if s.flag else y),
        "rsub": lambda m, x, y, s: torch.rsub(x, s.number, alpha=2 if s.flag else 1),
        "mul": lambda m, x, y, s: x.mul_(s.number) if s.flag else x * y,
        "add_": lambda m, x, y, s: x.add_(s.number),
        "max": lambda m, x, y, s: torch.max(x, y) if s.flag else x.max(-1, keepdim=True)[0],
        "where": lambda m, x, y, s: torch.where(x > s.number, x, y),
        "masked": lambda m, x, y, s: x.masked_fill_(x > 0, s.number) if s.flag else x,
        "both": lambda m, x, y, s: x * ((x > 0) & (y < 1)),
        "bits": lambda m, x, y, s: x * (x.to(torch.int64) & (3 if s.flag else y.to(torch.int64))),
        "clamp": lambda m, x, y, s: x.clamp(-abs(s.number), abs(s.number)),
        "hardtanh": lambda m, x, y, s: F.hardtanh(x, -1.0, abs(s.number), inplace=s.flag),
        "softplus": lambda m, x, y, s: F.softplus(x, 1, 20 if s.flag else abs(s.number)),
        "elu": lambda m, x, y, s: F.elu(x, abs(s.number), inplace=s.flag),
        "leaky_relu": lambda m, x, y, s: F.leaky_relu(x, abs(s.number), inplace=s.flag),
        "gelu": lambda m, x, y, s: F.gelu(x, approximate="tanh" if s.flag else "none"),
        "softmax": lambda m, x, y, s: torch.softmax(x, s.whole),
        "dropout": lambda m, x, y, s: F.dropout(x, 0.5, training=False, inplace=s.flag),
        "mean": lambda m, x, y, s: x.mean(s.whole, keepdim=s.flag),
        "sum": lambda m, x, y, s: x.sum(-1, keepdim=True) + y,
        "select": lambda m, x, y, s: x[:, s.whole],
        "slice": lambda m, x, y, s: x[..., 1:] if s.flag else x[:, :2],
        "end": lambda m, x, y, s: x[: s.whole or None] if s.flag else x[:, : s.whole or None],
        "step": lambda m, x, y, s: x[..., ::2] if s.flag else x[:, :: 1 + abs(s.whole)],
        "whole": lambda m, x, y, s: (x * 5).to(torch.int64 if s.flag else torch.int32),
        "true": lambda m, x, y, s: x > s.number,
        "total": lambda m, x, y, s: x.sum(s.whole, dtype=torch.float32 if s.flag else None),
        "average": lambda m, x, y, s: x.mean(s.whole, dtype=torch.float32),
        "zeros": lambda m, x, y, s: torch.cat([x, x.new_zeros(len(y), *x.shape[1:])], -1),
        "alike": lambda m, x, y, s: torch.zeros_like(x, dtype=y.dtype) + (y if s.flag else 1),
        "cell": lambda m, x, y, s: m.cell(x[:, 0])[s.flag],
        "view": lambda m, x, y, s: x.view(x.shape[0], -1, 2),
        "transpose": lambda m, x, y, s: x.transpose(1, -1),
        "unsqueeze": lambda m, x, y, s: x.unsqueeze(abs(s.whole)),
        "flatten": lambda m, x, y, s: x.flatten(1),
        "chunk": lambda m, x, y, s: x.chunk(2, -1)[s.flag],
        "cat": lambda m, x, y, s: torch.cat([x, y], -1),
        "stack": lambda m, x, y, s: torch.stack([x, y], 1),
        "expand": lambda m, x, y, s: x.unsqueeze(1).expand(-1, 2, *x.shape[1:]),
        "flip": lambda m, x, y, s: x.flip(-1),
        "pad": lambda m, x, y, s: F.pad(x, (1, s.whole), value=s.number),
        "pow": lambda m, x, y, s: x**2 if s.flag else 2**x,
        "glu": lambda m, x, y, s: F.glu(x),
        "attend": lambda m, x, y, s: F.scaled_dot_product_attention(x, y, y, is_causal=s.flag),
        "seen": lambda m, x, y, s: F.scaled_dot_product_attention(
            x, y, y, attn_mask=x @ y.mT > s.number, is_causal=s.flag
        ),
        "scaled": lambda m, x, y, s: torch.add(x, y if s.flag else s.whole, alpha=s.number),
        "lstm": lambda m, x, y, s: m.recurrent(x)[0] if s.flag else m.recurrent(x)[1][0][-1],
    }


NAMES = (
    *("layer", "other", "norm", "batch_norm", "linear", "mixed", "layer_norm", "bare", "relu"),
    *("add", "sub", "rsub", "mul", "add_", "max", "where", "masked", "both", "bits", "clamp"),
    *("hardtanh", "softplus", "elu", "leaky_relu", "gelu", "softmax", "dropout", "mean", "sum"),
    *("select", "slice", "step", "view", "transpose", "unsqueeze", "flatten", "chunk", "cat"),
    *("stack", "expand", "flip", "pad", "pow", "glu", "attend", "seen", "scaled", "lstm"),
    *("end", "whole", "true", "total", "average", "zeros", "alike", "cell"),
    *("layer", "relu", "mul", "add_", "slice", "select", "view"),  # the likelier
)


def _model(steps: tuple[Step, ...]) -> Any:
    import torch
    from torch import nn

    functions, parts = _functions(), {
        "first": nn.Linear(FEATURES, FEATURES),
        "second": nn.Linear(FEATURES, FEATURES),
        "norm": nn.LayerNorm(FEATURES),
        "batch": nn.BatchNorm1d(FEATURES),
        "recurrent": nn.LSTM(FEATURES, FEATURES, batch_first=True),
        "cell": nn.LSTMCell(FEATURES, FEATURES),
        "scale": nn.Parameter(torch.zeros(FEATURES)),
    }  # fmt: skip

    class Program(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, part in parts.items():
                setattr(self, name, part)

        def forward(self, x: Any, y: Any) -> Any:
            last = self.scale + self.recurrent(self.norm(self.second(self.first(x))))[0]
            values = [x, y, self.batch(last.transpose(1, 2)).transpose(1, 2)]
            for step in steps:
                one, other = (values[-1 - min(n, len(values) - 1)] for n in step.at)
                values.append(functions[step.name](self, one, other, step))
            return (values[2], self.cell(y[:, 0])[0], *values[3:][-GIVEN:])

    return fill(Program())


def _run(case: Case, tmp: Path) -> Outcome:
    import torch

    seed = zlib.crc32(case.text.encode())
    torch.manual_seed(seed)
    logging.getLogger("torch").setLevel(logging.CRITICAL)
    given = tuple(torch.randn(3, 4, FEATURES) for _ in range(2))
    free = dict.fromkeys((0, 1), torch.export.Dim.AUTO) if seed % 2 else {}
    try:
        model = _model(case.data.steps)
        program = torch.export.export(model, given, dynamic_shapes=(free, free))
        torch.export.save(program, tmp / "m.pt2")
        cases = [(given, _results(model, given))]
    except Exception as error:
        raise Void(f"not exported: {type(error).__name__}") from error
    longer = tuple(torch.randn(5, 7, FEATURES) for _ in range(2))
    with contextlib.suppress(Exception):  # where sizes became fixed
        _results(program.module(), longer)
        cases.append((longer, _results(model, longer)))
    try:
        module, weights, _ = written(tmp / "m.pt2", case.data.target, tmp)
    except CkptconvError as error:
        return Outcome(Result.REFUSED, error.problem[:70], str(error))
    for inputs, wanted in cases:
        try:
            found = TARGETS[case.data.target](module, weights, [x.numpy() for x in inputs])
        except Exception as error:
            return Outcome(Result.SILENT, "a network that does not run", repr(error))
        told = [[(v.shape, v.dtype) for v in values] for values in (found, wanted)]
        if told[0] != told[1]:
            return Outcome(Result.SILENT, "other shapes or dtypes", f"{told[0]} for {told[1]}")
        worst = max(map(_distance, found, wanted))
        if worst >= LIMIT:
            return Outcome(Result.SILENT, "others", str(worst))
    return Outcome(Result.EQUAL)


def _results(model: Any, inputs: Any) -> list[Any]:
    return [value.detach().numpy() for value in flat(model(*(x.clone() for x in inputs)))]


def _distance(found: Any, wanted: Any) -> float:
    one, other = found.astype(np.float64), wanted.astype(np.float64)
    return float((np.abs(one - other) / (1 + np.abs(other))).max(initial=0.0))


GENERATOR = Generator(draw, _run)

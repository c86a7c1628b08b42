"""Exported programs that look at parts of values, write into them in place, and look again."""

# ruff: noqa: ARG005 (functions of one signature)
from __future__ import annotations

import zlib
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from torch import nn

from tests.differential.exported import attempt
from tests.differential.networks import TARGETS
from tests.differential.outcome import Case, Generator, Outcome
from tests.networks import fill

_SHAPE = (2, 4, 6)
_VIEWS = {
    # what: function of (value, a number); each looks at the same numbers, or may
    "select": lambda x, n: x.select(n % x.dim(), n % x.shape[n % x.dim()]),
    "last": lambda x, n: x[..., -1],
    "from": lambda x, n: x[:, n % x.shape[1] :],
    "until": lambda x, n: x[..., : 1 + n % x.shape[-1]],
    "second": lambda x, n: x[:, ::2],
    "narrow": lambda x, n: x.narrow(-1, n % x.shape[-1], 1),
    "turned": lambda x, n: x.transpose(0, -1),
    "flat": lambda x, n: x.reshape(-1),
    "viewed": lambda x, n: x.view(x.shape[0], -1),
    "flattened": lambda x, n: x.flatten(),
    "longer": lambda x, n: x.unsqueeze(n % x.dim()),
    "shorter": lambda x, n: x.squeeze(0),
    "spread": lambda x, n: x[:1].expand_as(x),
    "detached": lambda x, n: x.detach(),
    "packed": lambda x, n: x.contiguous(),
    "chunk": lambda x, n: x.chunk(2, n % x.dim())[n % 2 - 1],
    "split": lambda x, n: x.split(1, -1)[n % x.shape[-1]],
    "apart": lambda x, n: x.unbind(0)[n % x.shape[0]],
    "same": lambda x, n: x[:],
    "typed": lambda x, n: x.to(torch.float32),
    "floats": lambda x, n: x.float(),
    "diagonal": lambda x, n: x.diagonal(0, 0, -1),
    "moved": lambda x, n: x.movedim(0, -1),
    "dropped": lambda x, n: nn.functional.dropout(x, 0.3, training=False),
}
_READS = {
    "clone": lambda x, n: x.clone(),
    "double": lambda x, n: x * 2,
    "flipped": lambda x, n: x.flip(0),
    "picked": lambda x, n: x[torch.arange(x.shape[0]).flip(0)],
    "sum": lambda x, n: x.sum(-1, keepdim=True),
    "whole": lambda x, n: torch.cat([x, x], 0),
}
_WRITES = {
    # what: function of (value, another, a number) that changes the value
    "add": lambda x, y, n: x.add_(n + 1),
    "mul": lambda x, y, n: x.mul_(y),
    "copy": lambda x, y, n: x.copy_(y),
    "fill": lambda x, y, n: x.fill_(n),
    "zero": lambda x, y, n: x.zero_(),
    "relu": lambda x, y, n: x.relu_(),
    "tanh": lambda x, y, n: x.tanh_(),
    "set": lambda x, y, n: x.__setitem__((slice(None), n % x.shape[1]), 0.5),
    "set all": lambda x, y, n: x.__setitem__(slice(None), y),
    "set last": lambda x, y, n: x.__setitem__((..., -1), y[..., 0]),
    "set masked": lambda x, y, n: x.__setitem__(y > 0.1, 2.0),
    "masked": lambda x, y, n: x.masked_fill_(y > 0, 3.0),
    "clamp": lambda x, y, n: x.clamp_(-0.2, 0.3),
}


class Step(NamedTuple):
    """A view, a read or a write of the value at ``of``, with the one at ``other``."""

    what: str
    of: int
    other: int
    number: int


class Drawn(NamedTuple):
    steps: tuple[Step, ...]
    target: str

    def __str__(self) -> str:
        return "; ".join(f"{s.what} {s.of} {s.other} {s.number}" for s in self.steps) + (
            f"; to {self.target}"
        )


def _draw(seed: str) -> Drawn:
    rng = Random(f"{seed}:aliases")
    count, steps = 2, []
    for _ in range(rng.randint(2, 7)):
        table = rng.choice((_VIEWS, _VIEWS, _READS, _WRITES, _WRITES))
        step = Step(
            rng.choice([*table]), rng.randrange(count), rng.randrange(count), rng.randrange(6)
        )
        steps.append(step)
        count += table is not _WRITES
    return Drawn(tuple(steps), rng.choice([*TARGETS]))


class _Model(nn.Module):
    def __init__(self, drawn: Drawn) -> None:
        super().__init__()
        self.drawn, self.fc = drawn, nn.Linear(_SHAPE[-1], _SHAPE[-1])

    def forward(self, x: Any) -> Any:
        values = [self.fc(x), torch.tanh(x)]
        for what, of, other, n in self.drawn.steps:
            if what in _WRITES:
                _WRITES[what](values[of], values[other], n)
            else:
                values.append({**_VIEWS, **_READS}[what](values[of], n))
        return tuple(value * 1.0 for value in values)


def _run(case: Case, tmp: Path) -> Outcome:
    torch.manual_seed(zlib.crc32(case.text.encode()))
    drawn: Drawn = case.data
    return attempt(lambda: fill(_Model(drawn)), (torch.randn(_SHAPE),), drawn.target, tmp)


GENERATOR = Generator(_draw, _run)

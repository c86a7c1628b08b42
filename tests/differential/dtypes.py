"""Networks of one operation each, of values of several dtypes, and of numbers of several kinds.

What torch promotes, truncates or keeps as it is shows in the dtypes and the numbers of the results.
"""

# ruff: noqa: ARG005 (functions of one signature)
from __future__ import annotations

import random
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.differential.exported import attempt
from tests.differential.networks import TARGETS
from tests.differential.outcome import Case, Generator, Outcome
from tests.networks import fill

DTYPES = ("float32", "int64", "int32", "bool")
HELD = (*DTYPES, "float64", "float16")
NUMBERS = (2, 0.5, True, -3, 0)
SIZE = 4


class Drawn(NamedTuple):
    """An operation of x, or of x and y, or of x and a number, in these dtypes, for a framework.

    Attributes:
        held: y is a buffer of the model.
    """

    name: str
    x: str
    y: str
    number: float
    target: str
    held: bool


@lru_cache
def _functions() -> dict[str, Any]:
    """Return name → function of (x, y, number)."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    pairs = (
        *("add", "sub", "mul", "div", "floor_divide", "remainder", "pow", "minimum", "maximum"),
        *("eq", "ne", "lt", "ge", "logical_and", "logical_xor", "bitwise_and", "bitwise_or"),
        *("matmul", "rsub", "max", "min"),
    )
    alone = (
        *("abs", "neg", "sign", "floor", "ceil", "round", "trunc", "relu", "sigmoid", "tanh"),
        *("exp", "sqrt", "square", "erf", "sin", "log1p", "reciprocal", "logical_not"),
        *("bitwise_not", "sum", "mean", "amax", "amin", "prod", "any", "all", "selu"),
        *("zeros_like", "ones_like", "tril"),
    )
    whole = (torch.int64, torch.int32, torch.float32)

    def unary(name: str) -> Any:
        return lambda x, y, n: getattr(torch, name)(x)

    def with_value(name: str) -> Any:
        return lambda x, y, n: getattr(torch, name)(x, y)

    def with_number(name: str) -> Any:
        return lambda x, y, n: getattr(torch, name)(x, n)

    return {
        **{name: unary(name) for name in alone},
        **{f"{name} of two": with_value(name) for name in pairs},
        **{f"{name} of a number": with_number(name) for name in pairs if name != "matmul"},
        "alpha": lambda x, y, n: torch.add(x, y, alpha=n),
        "less": lambda x, y, n: torch.sub(x, y, alpha=n),
        "floor": lambda x, y, n: torch.div(x, y, rounding_mode="floor"),
        "where": lambda x, y, n: torch.where(x > 0, x, y),
        "where a number": lambda x, y, n: torch.where(x > 0, y, n),
        "where numbers": lambda x, y, n: torch.where(x > 0, n, n + 1),
        "cat": lambda x, y, n: torch.cat([x, y], 1),
        "stack": lambda x, y, n: torch.stack([x, y]),
        "lerp": lambda x, y, n: torch.lerp(x, y, 0.3),
        "addcmul": lambda x, y, n: torch.addcmul(x, y, y, value=n),
        "filled": lambda x, y, n: x.masked_fill(y > 0, n),
        "gathered": lambda x, y, n: x.gather(1, (y > 0).long()),
        "indexed": lambda x, y, n: x[:, (y[0] > 0).long()],
        "outer": lambda x, y, n: torch.outer(x[0], y[0]),
        "type_as": lambda x, y, n: x.type_as(y),
        "subtracted": lambda x, y, n: n - x,
        "divided": lambda x, y, n: n / x,
        "a power": lambda x, y, n: n**x,
        "clamped": lambda x, y, n: x.clamp(n, n + 1),
        "at least": lambda x, y, n: x.clamp(min=n),
        "at most": lambda x, y, n: x.clamp(max=n),
        "full": lambda x, y, n: torch.full_like(x, n) + y,
        "padded": lambda x, y, n: F.pad(x, (1, 1), value=n),
        "hardtanh": lambda x, y, n: F.hardtanh(x, -abs(n) - 1, n + 5),
        "relu6": lambda x, y, n: F.relu6(x),
        "elu": lambda x, y, n: F.elu(x, n),
        "softmax": lambda x, y, n: x.softmax(1, dtype=torch.float32 if n else None),
        "summed": lambda x, y, n: x.sum(1, dtype=whole[int(n) % 3]),
        "multiplied": lambda x, y, n: x.prod(1, dtype=whole[int(n) % 3]),
        "cumsum": lambda x, y, n: x.cumsum(1, dtype=whole[int(n) % 3] if n else None),
        "converted": lambda x, y, n: x.to(whole[int(n) % 3]),
        "one_hot": lambda x, y, n: F.one_hot(x.abs().long() % 4, 5),
        "places": lambda x, y, n: (x.argmax(1), x.argmin(1, keepdim=True), x.max(1)),
        "topk": lambda x, y, n: x.topk(2)[0],
        "spread": lambda x, y, n: x.var(1, correction=int(bool(n))),
        "diff": lambda x, y, n: x.diff(dim=1),
        "moved": lambda x, y, n: (x.roll(1, 1), x.flip(1), x.repeat(2, 1)),
        "repeated": lambda x, y, n: x.repeat_interleave(2, 1),
    }


def _draw(seed: str) -> Drawn:
    rng = random.Random(seed)
    name, target = rng.choice([*_functions()]), rng.choice([*TARGETS])
    held = name != "stack" and rng.random() < 0.3  # uncompiled, ops.stack takes no Parameter
    dtypes = rng.choice(DTYPES), rng.choice(HELD if held else DTYPES)
    return Drawn(name, *dtypes, rng.choice(NUMBERS), target, held)


def _model(drawn: Drawn) -> Any:
    import torch
    from torch import nn

    turned = {
        "float32": lambda x: x * 3,
        "bool": lambda x: x > 0,
        **{name: _to(getattr(torch, name)) for name in HELD if name not in ("float32", "bool")},
    }

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(SIZE, SIZE)
            if drawn.held:
                y = torch.arange(1.0, 1 + SIZE).sin().repeat(SIZE, 1)
                self.register_buffer("held", turned[drawn.y](y))

        def forward(self, x: Any, y: Any) -> Any:
            other = self.held if drawn.held else turned[drawn.y](y)
            given = turned[drawn.x](self.fc(x) * 2), other
            return _functions()[drawn.name](*given, drawn.number), self.fc(y)

    return Model()


def _to(dtype: Any) -> Any:
    return lambda x: (x * 5).to(dtype)


def _run(case: Case, tmp: Path) -> Outcome:
    import torch

    torch.manual_seed(0)
    drawn: Drawn = case.data
    given = tuple(torch.randn(SIZE, SIZE) * 1.3 for _ in range(2))
    return attempt(lambda: fill(_model(drawn)), given, drawn.target, tmp)


GENERATOR = Generator(_draw, _run)

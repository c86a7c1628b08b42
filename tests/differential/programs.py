"""Networks of random torch.export programs: functions, layers, views and changes in place.

A program is steps over the values so far; the last ones are all given, so that a change in place
that reaches too few of them, or too many, is seen. Of those for MindSpore some are compiled.
"""

from __future__ import annotations

import contextlib
import logging
import random
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from ckptconv import CkptconvError
from tests.differential.networks import COMPILED, TARGETS, compared
from tests.differential.outcome import Case, Generator, Outcome, Result, Void
from tests.differential.recurrent_steps import owners
from tests.differential.steps import functions
from tests.network.written import flat, run_compiled, written
from tests.networks import fill

FEATURES, GIVEN = 6, 3
LIKELY = ("layer", "relu", "mul", "add_", "slice", "select", "view", "put", "put_part")


class Step(NamedTuple):
    """One operation: its name, which values so far it takes (counted from the last), numbers.

    Attributes:
        graded: gradients are kept, where there is somebody who wants them.
    """

    name: str
    at: tuple[int, int]
    number: float
    whole: int
    flag: bool
    graded: bool


class Program(NamedTuple):
    """Steps, and the framework that their network is written for.

    Attributes:
        recurrent: a layer of nn.LSTM is among the parts, whose steps torch exports of one number.
        compiled: a network of MindSpore is run compiled, too.
    """

    target: str
    steps: tuple[Step, ...]
    recurrent: bool
    compiled: bool


def draw(seed: str) -> Program:
    rng = random.Random(seed)
    recurrent = rng.random() < 0.4
    names = [name for name in functions() if recurrent or name != "lstm"]
    names += [*owners()] * recurrent
    steps = tuple(
        Step(
            rng.choice([*names, *LIKELY]),
            (rng.choice((0, 0, 0, 1, 2)), rng.randrange(4)),
            rng.choice((0.5, 1.0, 2.0, -0.7)),
            rng.randrange(-2, 3),
            rng.random() < 0.5,
            rng.random() < 0.9,
        )
        for _ in range(rng.randint(2, 6))
    )
    target = list(TARGETS)[int(seed.rpartition(":")[2]) % 2]
    return Program(target, steps, recurrent, target == "mindspore" and rng.random() < COMPILED)


def _model(drawn: Program) -> Any:
    import torch
    from torch import nn

    known, own, parts = functions(), owners(), {
        "first": nn.Linear(FEATURES, FEATURES),
        "second": nn.Linear(FEATURES, FEATURES),
        "norm": nn.LayerNorm(FEATURES),
        "batch": nn.BatchNorm1d(FEATURES),
        "recurrent": nn.LSTM(FEATURES, FEATURES, batch_first=True) if drawn.recurrent else None,
        "cell": nn.LSTMCell(FEATURES, FEATURES),
        "scale": nn.Parameter(torch.zeros(FEATURES)),
    }  # fmt: skip

    class Program(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, part in parts.items():
                if part is not None:
                    setattr(self, name, part)
            if any(step.name == "never" and not step.flag for step in drawn.steps):
                self.register_buffer("never", torch.zeros(()))
            for number, step in enumerate(drawn.steps):
                if step.name in own:
                    self.add_module(f"own_{number}", own[step.name].make(nn, FEATURES))

        def forward(self, x: Any, y: Any) -> Any:
            last = self.norm(self.second(self.first(x)))
            last = self.scale + (self.recurrent(last)[0] if drawn.recurrent else last)
            values = [x, y, self.batch(last.transpose(1, 2)).transpose(1, 2)]
            for number, step in enumerate(drawn.steps):
                one, other = (values[-1 - min(n, len(values) - 1)] for n in step.at)
                with contextlib.nullcontext() if step.graded else torch.no_grad():
                    if step.name in own:
                        layer = self.get_submodule(f"own_{number}")
                        values.append(own[step.name].use(layer, one, other, step))
                    else:
                        values.append(known[step.name](self, one, other, step))
            return (values[2], self.cell(y[:, 0])[0], *values[3:][-GIVEN:])

    model = fill(Program())
    for buffer in model.buffers(recurse=False):
        buffer.fill_(-torch.inf)
    return model


def _run(case: Case, tmp: Path) -> Outcome:
    import torch

    seed = zlib.crc32(case.text.encode())
    torch.manual_seed(seed)
    logging.getLogger("torch").setLevel(logging.CRITICAL)
    given = tuple(torch.randn(3, 4, FEATURES) for _ in range(2))
    free = dict.fromkeys((0, 1), torch.export.Dim.AUTO) if seed % 2 else {}
    try:
        model = _model(case.data)
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
    sets, wanted = [[x.numpy() for x in inputs] for inputs, _ in cases], [w for _, w in cases]
    try:
        found = [TARGETS[case.data.target](module, weights, given) for given in sets]
        if case.data.compiled:
            found += run_compiled(module, weights, *sets)
    except Exception as error:
        return Outcome(Result.SILENT, "a network that does not run", repr(error))
    return compared(found, wanted * (1 + case.data.compiled), case.data.target)


def _results(model: Any, inputs: Any) -> list[Any]:
    return [value.detach().numpy() for value in flat(model(*(x.clone() for x in inputs)))]


GENERATOR = Generator(draw, _run)

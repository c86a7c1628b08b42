"""Whose error is it: the frameworks' outputs, each held against the float64 reference.

A framework that is given equal weights may still be off by its own arithmetic. That is believed
only if the same weights, put into the same framework directly, give the same bits: then loading
the file added nothing; and only up to what that arithmetic is known to do (``probe.known_error``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np

from ckptconv.errors import CkptconvError
from ckptconv.graph.graph import Graph, RecurrentLayer
from ckptconv.tensors.regions import Array
from ckptconv.verification.frameworks.keras import Keras
from ckptconv.verification.frameworks.mindspore import MindSpore
from ckptconv.verification.frameworks.runner import Runner
from ckptconv.verification.frameworks.torch import Torch
from ckptconv.verification.pairing import Block
from ckptconv.verification.probes import probes
from ckptconv.verification.reference.forward import Inputs, Outputs
from ckptconv.verification.reference.inputs import DEVICES, floor, known_error, reference, run_chain
from ckptconv.verification.results.layers import LayerResult, Run, VerifyReport, outputs_differ

_RUNNERS: Mapping[str, type[Runner]] = {
    "torch": Torch,
    "keras": Keras,
    "mindspore": MindSpore,
    "mint": MindSpore,
}


class Side:
    """A file as its framework loaded it.

    Raises:
        CkptconvError: the framework is not installed, or refuses the file.
    """

    def __init__(self, graph: Graph, device: str, select: str | None = None) -> None:
        if device not in DEVICES:
            raise CkptconvError(f"unknown device {device!r}", expected=" or ".join(DEVICES))
        self.graph, self.framework = graph, graph.dialect
        self.device = device if self.framework in ("mindspore", "mint") else "CPU"
        self._runner = _RUNNERS[graph.dialect](self.device)
        self.by = self._runner.by
        self._own = self._runner.open(graph, select)

    def run(self, chain: Sequence[RecurrentLayer], given: Inputs) -> Outputs:
        """Run layers of this file on what the framework loaded."""
        return run_chain(chain, given, lambda layer, x: self._run(layer, self._own(layer), x))

    def control(self, chain: Sequence[RecurrentLayer], given: Inputs) -> Outputs:
        """Run layers in this framework on the values that ckptconv read."""
        return run_chain(chain, given, lambda layer, x: self._run(layer, _values(layer), x))

    def tolerance(self, chain: Sequence[RecurrentLayer], given: Inputs, exact: Outputs) -> float:
        """Return what this framework's arithmetic may be off by."""
        emulate = partial(reference, self.graph, chain, given)
        return known_error(exact, self.framework, self.device, emulate)

    def _run(self, layer: RecurrentLayer, arrays: Mapping[str, Array], given: Inputs) -> Outputs:
        return self._runner.run(layer, arrays, given)


def run_frameworks(
    report: VerifyReport,
    a: Graph,
    b: Graph,
    blocks: Iterable[Block],
    *,
    device: str,
    tolerance: float | None,
    select: str | None = None,
) -> None:
    """Add each framework's outputs to the report's layers, and whose errors they are."""
    source, target = Side(a, device, select), Side(b, device)
    report.frameworks = list(dict.fromkeys((source.by, target.by)))
    for block, result in zip(blocks, report.layers, strict=True):
        if block.source is None or not result.runs:
            continue
        given = probes(a, block, report.seed)
        for side, chain, whose, inputs in (
            (source, [block.source], "source", given.source),
            (target, block.chain, "target", given.target),
        ):
            _judge(result, side, chain, whose, inputs, tolerance)


def _judge(
    result: LayerResult,
    side: Side,
    chain: Sequence[RecurrentLayer],
    whose: str,
    given: Inputs,
    tolerance: float | None,
) -> None:
    """Hold a framework against the float64 reference of its own file."""
    exact = reference(side.graph, chain, given)
    found = side.run(chain, given)
    allowed = side.tolerance(chain, given, exact) if tolerance is None else tolerance
    run = Run(side.by, whose, "reference of " + whose, outputs_differ(found, exact), allowed)
    result.runs.append(run)
    if not result.ok or run.difference.max_abs <= floor(exact):
        return
    same_bits = all(
        np.array_equal(x, y) for x, y in zip(found, side.control(chain, given), strict=True)
    )
    if run.ok and same_bits:
        result.cause += (
            f"; {side.by}'s own arithmetic is off by {run.difference.max_abs:.2g}"
            f" (known: up to {allowed:.2g}; the same with these weights put in directly)"
        )
        return
    result.ok = False
    reason = "more than its arithmetic is known to be" if same_bits else "not by its arithmetic"
    result.cause = f"{side.by} is off by {run.difference.max_abs:.2g} on the {whose}, {reason}"


def _values(layer: RecurrentLayer) -> dict[str, Array]:
    return {name: tensor.numpy() for name, tensor in layer.params.items()}

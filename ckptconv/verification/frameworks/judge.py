"""Whose error is it: the frameworks' outputs, each held against the float64 reference.

A framework that is given equal weights may still be off by its own arithmetic. That is believed
only if the same weights, put into the same framework directly, give the same bits: then loading
the file added nothing; and only up to what that arithmetic is known to do
(``reference.inputs.known_error``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ckptconv import dialects
from ckptconv.codegen.arguments import facts_of
from ckptconv.codegen.constructor import constructor
from ckptconv.errors import CkptconvError
from ckptconv.graph.axes import fits
from ckptconv.graph.forms import Facts, Forms, stored_by_row
from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
from ckptconv.graph.kinds import KINDS
from ckptconv.options import choice
from ckptconv.tensors.regions import Array
from ckptconv.verification.counterparts import Names
from ckptconv.verification.frameworks.keras import Keras
from ckptconv.verification.frameworks.mindspore import MindSpore
from ckptconv.verification.frameworks.runner import NotRunError, Runner, single
from ckptconv.verification.frameworks.samples import sample
from ckptconv.verification.frameworks.torch import Torch
from ckptconv.verification.pairing import Block
from ckptconv.verification.probes import probes
from ckptconv.verification.reference.forward import Inputs, Outputs
from ckptconv.verification.reference.inputs import (
    FLOOR,
    SHOWN_NOTHING,
    Limits,
    floors,
    known_error,
    reference,
    run_chain,
    scale,
    shows,
)
from ckptconv.verification.results.layers import LayerResult, VerifyReport
from ckptconv.verification.results.run import Run, held, outputs_differ, worst

RUNNERS: Mapping[str, type[Runner]] = {
    "torch": Torch,
    "keras": Keras,
    "mindspore": MindSpore,
}


class Side:
    """A file as its framework loaded it.

    Raises:
        CkptconvError: the framework is not installed, or refuses the file.
    """

    def __init__(self, graph: Graph, device: str) -> None:
        choice("device", device)
        self.graph, self.framework = graph, graph.dialect
        self.device = device if self.framework == "mindspore" else "CPU"
        self.forms = _column(graph)
        self._runner = RUNNERS[graph.dialect](self.forms, self.device)
        self.by = self._runner.by
        self._own = self._runner.open(graph)

    def run(self, chain: Sequence[RecurrentLayer], given: Inputs) -> Outputs:
        """Run layers of this file on what the framework loaded."""
        return run_chain(chain, given, lambda layer, x: self._run(layer, self._own(layer), x))

    def call(
        self, layer: Layer, facts: Facts, given: Sequence[Array], rounded: Layer | None = None
    ) -> Array:
        """Run a layer of this file that is not recurrent, built by the table's call.

        Args:
            rounded: to whose dtypes the weights are rounded first.
        """
        held, other = dict(self._own(layer)), rounded.params if rounded else {}
        for name in held.keys() & other.keys():
            if other[name].dtype.kind not in "iub":
                held[name] = held[name].astype(other[name].dtype).astype(np.float32)
        return self._runner.call(layer, facts, held, given)

    def control(self, chain: Sequence[RecurrentLayer], given: Inputs) -> Outputs:
        """Run layers in this framework on the values that ckptconv read."""
        return run_chain(chain, given, lambda layer, x: self._run(layer, _values(layer), x))

    def tolerance(self, chain: Sequence[RecurrentLayer], given: Inputs, exact: Outputs) -> Limits:
        """Return what this framework's arithmetic may be off by."""
        emulate = partial(reference, self.graph, chain, given)
        return known_error(exact, self.framework, self.device, emulate)

    def _run(self, layer: RecurrentLayer, arrays: Mapping[str, Array], given: Inputs) -> Outputs:
        return self._runner.run(layer, arrays, given)


def _column(graph: Graph) -> Forms:
    """Return the column whose names and axes a file has: MindSpore has two, ``nn`` and ``mint``."""
    own = dialects.dialect(graph.dialect).forms
    if graph.dialect != "mindspore":
        return own
    names = Names(graph)
    plain = [layer for layer in graph if layer.kind in KINDS and stored_by_row(layer.kind)]
    columns = (own, dialects.dialect("mint").forms)
    return next((c for c in columns if all(_fits(layer, names, c) for layer in plain)), own)


def _fits(layer: Layer, names: Names, forms: Forms) -> bool:
    stored = filter(None, map(names.stored, layer.params.values()))
    shapes = {name.removeprefix(f"{layer.path}."): shape for name, shape in stored}
    return fits(layer.kind, shapes, forms, layer.attributes)


def run_frameworks(
    report: VerifyReport,
    a: Graph,
    b: Graph,
    blocks: Iterable[Block],
    *,
    device: str,
    tolerance: float | None,
) -> None:
    """Add each framework's outputs to the report's layers, and whose errors they are."""
    source, target = Side(a, device), Side(b, device)
    report.frameworks = list(dict.fromkeys((source.by, target.by)))
    for block, result in zip(blocks, report.layers, strict=True):
        try:
            if block.source is None:
                _compare_outputs(result, block, source, target, report.seed, tolerance)
            elif result.runs:
                _hold_against_reference(report, result, block, source, target, tolerance)
        except NotRunError as error:  # noqa: PERF203
            report.notes.append(f"{block.layer.path}: not run: {error}")


def _hold_against_reference(
    report: VerifyReport,
    result: LayerResult,
    block: Block,
    source: Side,
    target: Side,
    tolerance: float | None,
) -> None:
    """Run a recurrent layer in both frameworks."""
    given = probes(source.graph, block, report.seed)
    for side, chain, whose, inputs in (
        (source, (block.source,) if block.source else (), "source", given.source),
        (target, block.chain, "target", given.target),
    ):
        try:
            _judge(result, side, chain, whose, inputs, tolerance)
        except NotRunError as error:  # noqa: PERF203
            report.notes.append(f"{block.layer.path}: the {whose} is not run: {error}")


def _compare_outputs(
    result: LayerResult,
    block: Block,
    source: Side,
    target: Side,
    seed: int,
    tolerance: float | None,
) -> None:
    """Run a layer that is not recurrent in both frameworks, by the calls that the report prints.

    Both are built from what the source says of the layer, each with the weights of its own file;
    the source's are rounded as the target's are, where those are known to be its rounding.
    """
    layer, other = block.layer, replace(block.parts[0][1].layer, kind=block.layer.kind)
    if layer.kind not in KINDS:
        raise NotRunError(f"a {layer.kind} is no layer")
    facts = facts_of(layer, source.forms)
    given = sample(layer, facts, seed)
    try:
        expected = source.call(layer, facts, given, other if result.weights == "rounded" else None)
        found = target.call(other, facts, given)
    except NotRunError:
        raise
    except CkptconvError as error:
        raise NotRunError(str(error)) from None
    if not shows(expected):
        raise NotRunError(SHOWN_NOTHING)
    built = f"built as {constructor(layer, target.forms, source.forms)}"
    if found.shape != expected.shape:
        result.ok = False
        result.cause = (
            f"{target.by} gives {found.shape}, {source.by} {expected.shape} of one input, {built}"
        )
        return
    allowed = FLOOR * scale(expected) if tolerance is None else tolerance
    apart = outputs_differ(found, expected)
    run = Run(target.by, "target", f"source in {source.by}", apart, allowed)
    result.runs.append(run)
    if result.ok and not run.ok:
        result.ok = False
        result.cause = (
            f"{target.by} computes otherwise than {source.by}: off by {apart.max_abs:.2g}, {built}"
        )


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
    allowed = (
        side.tolerance(chain, given, exact) if tolerance is None else (tolerance,) * len(exact)
    )
    if not np.isfinite(allowed).all():
        raise NotRunError("float32 cannot hold its numbers")
    runs = held(side.by, whose, "reference of " + whose, found, exact, allowed)
    result.runs += runs
    least = zip(runs, floors(exact), strict=False)
    if not result.ok or all(run.ok and run.difference.max_abs <= limit for run, limit in least):
        return
    run = worst(runs)
    same_bits = all(
        np.array_equal(x, y, equal_nan=True)
        for x, y in zip(found, side.control(chain, given), strict=True)
    )
    if run.ok and same_bits:
        result.cause += (
            f"; {side.by}'s own arithmetic is off by {run.difference.max_abs:.2g}"
            f" (known: up to {run.tolerance:.2g}; the same with these weights put in directly)"
        )
        return
    result.ok = False
    known = "its arithmetic is known to be" if tolerance is None else "is allowed"
    reason = f"more than {known}" if same_bits else "not by its arithmetic"
    result.cause = f"{side.by} is off by {run.difference.max_abs:.2g} on the {whose}, {reason}"


def _values(layer: RecurrentLayer) -> dict[str, Array]:
    return {name: single(tensor.numpy()) for name, tensor in layer.params.items()}

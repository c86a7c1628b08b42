"""Whose error is it: the frameworks' outputs, each held against the float64 reference.

A framework that is given equal weights may still be off by its own arithmetic. That is believed
only if the same weights, put into the same framework directly, give the same bits: then loading
the file added nothing; and only up to what that arithmetic is known to do
(``reference.inputs.known_error``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ckptconv.codegen.arguments import facts_of
from ckptconv.codegen.constructor import constructor
from ckptconv.errors import CkptconvError
from ckptconv.graph.graph import Graph, RecurrentLayer
from ckptconv.graph.kinds import KINDS
from ckptconv.verification.frameworks.loaded import Side
from ckptconv.verification.frameworks.runner import NotRunError
from ckptconv.verification.frameworks.samples import sample
from ckptconv.verification.pairing import Block
from ckptconv.verification.probes import probes
from ckptconv.verification.reference.forward import Inputs
from ckptconv.verification.reference.inputs import (
    FLOOR,
    SHOWN_NOTHING,
    Limits,
    floors,
    reference,
    scale,
    shows,
)
from ckptconv.verification.results.layers import LayerResult, VerifyReport
from ckptconv.verification.results.run import Run, held, outputs_differ, worst


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
    trial = _Trial(report, Side(a, device), Side(b, device), tolerance)
    report.frameworks = list(dict.fromkeys((trial.source.by, trial.target.by)))
    for block, result in zip(blocks, report.layers, strict=True):
        try:
            if block.source is None:
                trial.compare_outputs(result, block)
            elif result.runs:
                trial.hold_against_reference(result, block)
        except NotRunError as error:  # noqa: PERF203
            report.notes.append(f"{block.layer.path}: not run: {error}")


@dataclass(frozen=True)
class _Trial:
    """Both files in their frameworks, and where what they compute is written down."""

    report: VerifyReport
    source: Side
    target: Side
    tolerance: float | None

    def hold_against_reference(self, result: LayerResult, block: Block) -> None:
        """Run a recurrent layer in both frameworks."""
        given = probes(self.source.graph, block, self.report.seed)
        for side, chain, inputs in (
            (self.source, (block.source,) if block.source else (), given.source),
            (self.target, block.chain, given.target),
        ):
            try:
                self._judge(result, side, chain, inputs)
            except NotRunError as error:  # noqa: PERF203
                whose = self._whose(side)
                self.report.notes.append(f"{block.layer.path}: the {whose} is not run: {error}")

    def compare_outputs(self, result: LayerResult, block: Block) -> None:
        """Run a layer that is not recurrent in both frameworks, by the calls that reports print.

        Both are built from what the source says of the layer, each with its own file's weights;
        the source's are rounded as the target's are, where those are known to be its rounding.
        """
        source, target = self.source, self.target
        layer, other = block.layer, replace(block.parts[0][1].layer, kind=block.layer.kind)
        if layer.kind not in KINDS:
            raise NotRunError(f"a {layer.kind} is no layer")
        facts = facts_of(layer, source.forms)
        given = sample(layer, facts, self.report.seed)
        try:
            rounded = other if result.weights == "rounded" else None
            expected = source.call(layer, facts, given, rounded)
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
            shapes = f"{target.by} gives {found.shape}, {source.by} {expected.shape}"
            result.cause = f"{shapes} of one input, {built}"
            return
        allowed = FLOOR * scale(expected) if self.tolerance is None else self.tolerance
        apart = outputs_differ(found, expected)
        run = Run(target.by, "target", f"source in {source.by}", apart, allowed)
        result.runs.append(run)
        if result.ok and not run.ok:
            result.ok = False
            problem = f"{target.by} computes otherwise than {source.by}"
            result.cause = f"{problem}: off by {apart.max_abs:.2g}, {built}"

    def _judge(
        self, result: LayerResult, side: Side, chain: Sequence[RecurrentLayer], given: Inputs
    ) -> None:
        """Hold a framework against the float64 reference of its own file."""
        whose, exact = self._whose(side), reference(side.graph, chain, given)
        found = side.run(chain, given)
        allowed: Limits = (self.tolerance or 0,) * len(exact)
        if self.tolerance is None:
            allowed = side.tolerance(chain, given, exact)
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
        known = "its arithmetic is known to be" if self.tolerance is None else "is allowed"
        reason = f"more than {known}" if same_bits else "not by its arithmetic"
        result.cause = f"{side.by} is off by {run.difference.max_abs:.2g} on the {whose}, {reason}"

    def _whose(self, side: Side) -> str:
        return "source" if side is self.source else "target"
